// The matrix product: a micro-kernel whose result stays in registers.
//
// Everything is computed as tile (rows x w vectors) = left (rows x K) * right (K x w vectors), with at most MR rows and
// NV vectors. The right operand is packed: the w vectors of one k stand side by side, k after k, so that it is read as
// one stream. The left operand is read number by number and broadcast.
//
// For each k a full tile of 6 x 4 takes 4 loads of the right operand, 6 broadcasts and 24 multiply-adds; a core does
// two of each in a cycle, so the arithmetic is what takes time. It takes from the right operand a vector every
// 3 cycles, which the second-level cache can deliver: 97 % of the peak was measured with a right operand of 128 KB.
// (Blocks of K that fit in the first-level cache were slower: each costs a pass over the tile.)
#pragma once

#include "vectors.h"

namespace seqkit {

// The left operand: number (row, k) is at[row * row_stride + k / length * piece_stride + k % length]: each row is
// `pieces` runs of `length` numbers.
struct Left {
    const float* at;
    int64_t row_stride;
    int64_t length;
    int64_t pieces = 1;
    int64_t piece_stride = 0;
};

// One multiply-add has a latency of 4 cycles and two can start in a cycle, so at least 8 must be under way. Tiles of
// few rows have fewer accumulators than that and deal the k's to several sets of them.
constexpr int accumulator_sets(int accumulators) {
    return accumulators >= 8 ? 1 : accumulators >= 4 ? 2 : accumulators >= 2 ? 4 : 8;
}

// tile (M x W vectors, rows tile_stride apart) = or += left * right, all k's at once. Out of line: inlined
// where the result is used, GCC spills the accumulators.
// LeftRows: rows apart by row_stride, k's side by side. Else the M numbers of one k stand side by side, M apart.
template <int M, int W, bool LeftRows>
SEQKIT_NOINLINE void micro_kernel(const Left& left, const float* right, int64_t right_stride, float* tile,
                                  int64_t tile_stride, bool add) {
    constexpr int sets = accumulator_sets(M * W);
    Vec sum[sets][M][W] = {};
    const int64_t step = LeftRows ? 1 : M, stride = LeftRows ? left.row_stride : 1;
    const auto multiply_add = [&](auto set, const float* l, const float* r) __attribute__((always_inline)) {
        Vec columns[W];
        unroll<W>([&](auto w) { columns[w] = load(r + w * V); });
        unroll<M>([&](auto m) {
            const Vec number = broadcast(l[m * stride]);
            unroll<W>([&](auto w) { sum[set][m][w] += number * columns[w]; });
        });
    };
    for (int64_t piece = 0; piece < left.pieces; piece++) {
        const float* l = left.at + piece * left.piece_stride;
        int64_t k = 0;
        if constexpr (sets > 1) {
            for (; k + sets <= left.length; k += sets) {
                unroll<sets>([&](auto set) { multiply_add(set, l + set * step, right + set * right_stride); });
                l += sets * step;
                right += sets * right_stride;
            }
        }
#pragma GCC unroll 4
        for (; k < left.length; k++) {
            multiply_add(std::integral_constant<int, 0>{}, l, right);
            l += step;
            right += right_stride;
        }
    }
    unroll<M>([&](auto m) {
        unroll<W>([&](auto w) {
            Vec total = sum[0][m][w];
            unroll<sets - 1>([&](auto set) { total += sum[set + 1][m][w]; });
            float* to = tile + m * tile_stride + w * V;
            store(to, add ? load(to) + total : total);
        });
    });
}

typedef void (*MicroKernel)(const Left&, const float*, int64_t, float*, int64_t, bool);
struct MicroKernels {
    MicroKernel of[MR + 1][NV + 1];  // [rows][vectors]
};
template <bool LeftRows>
constexpr MicroKernels make_micro_kernels() {
    MicroKernels kernels = {};
    unroll<MR>([&](auto m) {
        unroll<NV>([&](auto w) { kernels.of[m + 1][w + 1] = micro_kernel<m + 1, w + 1, LeftRows>; });
    });
    return kernels;
}
inline const MicroKernels micro_kernels = make_micro_kernels<true>();
inline const MicroKernels micro_kernels_of_columns = make_micro_kernels<false>();

// f(first row, how many) for blocks of at most MR rows that are as equal as can be: 20 rows are 5, 5, 5 and 5. Small
// tiles are as fast as full ones down to 2 rows, so nothing is lost to rows that fill no tile.
template <class F>
SEQKIT_INLINE void blocks_of_rows(int64_t rows, F&& f) {
    const int64_t blocks = (rows + MR - 1) / MR;
    for (int64_t block = 0, row = 0; block < blocks; block++) {
        const int64_t count = (rows - row + blocks - block - 1) / (blocks - block);
        f(row, count);
        row += count;
    }
}

}  // namespace seqkit
