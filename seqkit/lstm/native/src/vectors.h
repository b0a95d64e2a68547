// Vectors of V floats in the compiler's own notation (GCC and Clang), so that one source serves every instruction set:
// the operators below become single instructions of whatever the file is compiled for.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace seqkit {

// V lanes, and the micro-kernel's tile (microkernel.h) of MR rows and NV vectors: its MR * NV sums, NV vectors of the
// right operand and one of the left must fit in the registers, or the compiler spills them without a word (with AVX2, a
// tile of 6 x 4 reaches 84 GFLOP/s on a core where 6 x 2 reaches 122). With AVX-512, 12 x 2 is as fast as 6 x 4 where
// all lies in the first-level cache, and a tenth slower in the layer, where it reads twelve rows at once and reads them
// twice.
#if defined(__AVX512F__)
constexpr int V = 16, MR = 6, NV = 4;  // 32 registers
#elif defined(__AVX2__)
constexpr int V = 8, MR = 6, NV = 2;  // 16 registers
#elif defined(__aarch64__)
constexpr int V = 4, MR = 6, NV = 4;  // 32 registers
#else
constexpr int V = 4, MR = 6, NV = 2;  // 16 registers, as SSE has
#endif

typedef float Vec __attribute__((vector_size(V * 4)));
typedef int32_t IntVec __attribute__((vector_size(V * 4)));
typedef float UnalignedVec __attribute__((vector_size(V * 4), aligned(4), may_alias));

#define SEQKIT_INLINE __attribute__((always_inline)) inline
#define SEQKIT_NOINLINE __attribute__((noinline))

SEQKIT_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
SEQKIT_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
SEQKIT_INLINE Vec broadcast(float x) { return x - Vec{}; }

// Ask for n floats ahead of their use; memory that will be written has to belong to this core, too.
SEQKIT_INLINE void prefetch(const float* p, int64_t n) {
    for (int64_t line = 0; line < n; line += 16) __builtin_prefetch(p + line, 0, 3);
}
SEQKIT_INLINE void prefetch_to_write(const float* p, int64_t n) {
    for (int64_t line = 0; line < n; line += 16) __builtin_prefetch(p + line, 1, 3);
}

// The first n lanes (the others are 0), where memory may end behind them. n from V on is a whole vector.
SEQKIT_INLINE Vec load_part(const float* p, int64_t n) {
    if (n >= V) return load(p);
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    Vec v = {};
    std::memcpy(&v, p, n * sizeof(float));
    return v;
#endif
}
SEQKIT_INLINE void store_part(float* p, Vec v, int64_t n) {
    if (n >= V) return store(p, v);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    std::memcpy(p, &v, n * sizeof(float));
#endif
}

// The first n lanes of v, the others 0.
SEQKIT_INLINE Vec first_lanes(Vec v, int64_t n) {
    if (n >= V) return v;
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), (__m512)v);
#else
    Vec kept = {};
    std::memcpy(&kept, &v, n * sizeof(float));
    return kept;
#endif
}

// f(0), f(1), ... f(n - 1) with constants, so that arrays of vectors indexed by them stay in registers.
template <class F, int... I>
SEQKIT_INLINE void unroll(F&& f, std::integer_sequence<int, I...>) {
    (f(std::integral_constant<int, I>{}), ...);
}
template <int n, class F>
SEQKIT_INLINE void unroll(F&& f) {
    unroll(f, std::make_integer_sequence<int, n>{});
}

// Lanes a0 b0 a1 b1 ... of the first and of the second halves of a and b.
template <int... I>
SEQKIT_INLINE void interleave(Vec a, Vec b, Vec& low, Vec& high, std::integer_sequence<int, I...>) {
#if defined(__clang__)
    low = __builtin_shufflevector(a, b, (I / 2 + I % 2 * V)...);
    high = __builtin_shufflevector(a, b, (V / 2 + I / 2 + I % 2 * V)...);
#else
    low = __builtin_shuffle(a, b, IntVec{(I / 2 + I % 2 * V)...});
    high = __builtin_shuffle(a, b, IntVec{(V / 2 + I / 2 + I % 2 * V)...});
#endif
}

// Transpose V vectors of V lanes: interleaving vector i with vector i + V/2, log2(V) times over, brings lane j of
// vector i to lane i of vector j. With 16 lanes that is 64 shuffles for 256 numbers.
SEQKIT_INLINE void transpose(Vec (&rows)[V]) {
    for (int round = 1; round < V; round *= 2) {
        Vec next[V];
        unroll<V / 2>([&](auto i) {
            interleave(rows[i], rows[i + V / 2], next[2 * i], next[2 * i + 1], std::make_integer_sequence<int, V>{});
        });
        unroll<V>([&](auto i) { rows[i] = next[i]; });
    }
}

}  // namespace seqkit
