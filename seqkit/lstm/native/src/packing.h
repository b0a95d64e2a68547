// Weights, gradients and inputs brought into the layouts of layout.h and back: a few percent of the work of a batch.
#pragma once

#include "layout.h"

namespace seqkit {

// Strip `strip` of panel `panel` of w (4H, K): to[k][NV V]. V x V numbers at a time are turned in registers.
inline void pack_strip(const float* w, int64_t hidden, int64_t K, int64_t panel, int64_t strip, float* to) {
    for (int64_t gate = strip * NV; gate < strip * NV + NV; gate++) {
        const float* first = w + (gate * hidden + panel * V) * K;
        const int64_t units = std::min<int64_t>(V, hidden - panel * V);
        float* column = to + gate % NV * V;
        for (int64_t k = 0; k < K; k += V) {
            Vec block[V];
            unroll<V>([&](auto u) { block[u] = u < units ? load_part(first + u * K + k, K - k) : Vec{}; });
            transpose(block);
            unroll<V>([&](auto n) {
                if (k + n < K) store(column + (k + n) * STRIP, block[n]);
            });
        }
    }
}

// The part of one direction's weights, packed for the forward products, that thread `number` of `count` has.
inline void pack_forward(const Problem& p, const float* const* weights, const Packed& packed, int64_t number,
                         int64_t count) {
    const float *w_ih = weights[0], *w_hh = weights[1], *b_ih = weights[2], *b_hh = weights[3];
    const Span strips = share(STRIPS * ceil_div(p.hidden, V), count, number);
    for (int64_t n = strips.first; n < strips.end; n++) {
        const int64_t panel = n / STRIPS, strip = n % STRIPS;
        pack_strip(w_ih, p.hidden, p.inputs, panel, strip, packed.input + n * p.inputs * STRIP);
        pack_strip(w_hh, p.hidden, p.hidden, panel, strip, packed.recurrent + n * p.hidden * STRIP);
        for (int64_t gate = strip * NV; gate < strip * NV + NV; gate++) {
            for (int64_t v = 0; v < V; v++) {
                const int64_t unit = panel * V + v, at = gate * p.hidden + unit;
                packed.bias[panel * PANEL + gate * V + v] = unit < p.hidden ? b_ih[at] + b_hh[at] : 0.0f;
            }
        }
    }
}

// w (4H, columns), its columns of one strip: to[k][w V] with the strip's own width w; k over panels, gates and units.
inline void pack_backward(const float* w, int64_t hidden, int64_t columns, int64_t strip, float* to) {
    const int width = strip_width(strip, columns);
    for (int64_t panel = 0; panel < ceil_div(hidden, V); panel++) {
        for (int64_t gate = 0; gate < 4; gate++) {
            for (int64_t unit = panel * V; unit < panel * V + V; unit++) {
                const float* row = w + (gate * hidden + unit) * columns;
                for (int64_t at = strip * STRIP, n = 0; n < width; n++, at += V, to += V)
                    store(to, unit < hidden ? load_part(row + at, columns - at) : Vec{});
            }
        }
    }
}

// The gradient of a weight (4H, K) from one panel's sums from[k][4V]: pack_strip's way back.
inline void unpack_gradient(const float* from, int64_t hidden, int64_t K, int64_t panel, float* w) {
    const int64_t units = std::min<int64_t>(V, hidden - panel * V);
    for (int64_t gate = 0; gate < 4; gate++) {
        float* first = w + (gate * hidden + panel * V) * K;
        for (int64_t k = 0; k < K; k += V) {
            Vec block[V];
            unroll<V>([&](auto n) { block[n] = k + n < K ? load(from + (k + n) * PANEL + gate * V) : Vec{}; });
            transpose(block);
            unroll<V>([&](auto u) {
                if (u < units) store_part(first + u * K + k, block[u], K - k);
            });
        }
    }
}

// `count` rows of `width` numbers, stride apart, one behind the other. A constant width makes each row a few moves.
inline void gather(const float* from, int64_t stride, int64_t count, int64_t width, float* to) {
    for (int64_t n = 0; n < count; n++, from += stride, to += width) {
        if (width == MR) {
            std::memcpy(to, from, MR * sizeof(float));
        } else {
            std::memcpy(to, from, width * sizeof(float));
        }
    }
}

// A hash of `count` numbers' bits. Each step is invertible in the number it takes up, so a change of a single number
// always shows. The multiplication carries changes to higher bits only, the shift brings them back to lower ones:
// without it, two changes of sign would cancel. Lanes of their own make it run at the speed of memory.
inline uint64_t fingerprint(const float* numbers, int64_t count) {
    constexpr int64_t lanes = 128;
    uint32_t lane[lanes];
    for (int64_t n = 0; n < lanes; n++) lane[n] = static_cast<uint32_t>(n * 0x9e3779b9u + 1);
    const auto take_up = [&](const float* from, int64_t n) {
        uint32_t bits[lanes] = {};
        std::memcpy(bits, from, n * sizeof(float));
        for (int64_t l = 0; l < lanes; l++) {
            lane[l] = (lane[l] ^ bits[l]) * 0x9e3779b1u;
            lane[l] ^= lane[l] >> 15;
        }
    };
    int64_t n = 0;
    for (; n + lanes <= count; n += lanes) take_up(numbers + n, lanes);
    if (n < count) take_up(numbers + n, count - n);
    uint64_t all = static_cast<uint64_t>(count);
    for (int64_t l = 0; l < lanes; l++) {
        all = (all ^ lane[l]) * 0x9e3779b97f4a7c15u;
        all ^= all >> 32;
    }
    return all;
}

}  // namespace seqkit
