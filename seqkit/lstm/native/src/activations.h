// The gates' nonlinearities on vectors. Both rest on e^x - 1 computed without cancellation, so their relative error
// stays at a few units in the last place, near 0 too. A NaN comes out as a NaN: a training that diverged must show it.
#pragma once

#include "vectors.h"

namespace seqkit {

struct Exponential {
    Vec scale;     // 2^n
    Vec fraction;  // 2^f - 1, with the argument n + f and |f| <= 1/2
};

// 2^(x * factor), for x * factor within +-125, or NaN. The polynomial is the best one of its degree (least largest
// relative error, 1.1e-8, a fifth of float32's rounding), by a fit of (2^f - 1) / f.
SEQKIT_INLINE Exponential exponential(Vec x, float factor) {
    // 1.5 * 2^23: adding it rounds to an integer and leaves that in the lowest bits; 127 more make it an exponent.
    const float magic = 12582912.0f + 127.0f;
    const Vec shifted = x * factor + magic;
    const Vec f = x * factor - (shifted - magic);
    Vec p = broadcast(1.540351280e-04f);
    p = p * f + 1.339073553e-03f;
    p = p * f + 9.618237494e-03f;
    p = p * f + 5.550357434e-02f;
    p = p * f + 2.402264979e-01f;
    p = p * f + 6.931471879e-01f;
    return {(Vec)((IntVec)shifted << 23), p * f};
}

// A NaN stays one: x86's min and max give their second operand where the two cannot be compared, and both comparisons
// are false.
SEQKIT_INLINE Vec clamp(Vec x, float bound) {
#if defined(__AVX512F__)
    return (Vec)_mm512_min_ps((__m512)broadcast(bound), _mm512_max_ps((__m512)broadcast(-bound), (__m512)x));
#elif defined(__AVX2__)
    return (Vec)_mm256_min_ps((__m256)broadcast(bound), _mm256_max_ps((__m256)broadcast(-bound), (__m256)x));
#else
    x = x < -bound ? broadcast(-bound) : x;
    return x > bound ? broadcast(bound) : x;
#endif
}

constexpr float LOG2_E = 1.442695040888963f;

// A nonlinearity before its division. Divisions are the slowest instructions here, so two are made into one: of the
// five for a step, which took a twentieth of the time of forward at H = 128, three remain.
struct Ratio {
    Vec numerator, denominator;
};

// 1 / (1 + e^-x); beyond +-40 it is 0 or 1 to within 5e-18.
SEQKIT_INLINE Ratio sigmoid(Vec x) {
    const Exponential e = exponential(clamp(x, 40.0f), -LOG2_E);
    return {broadcast(1.0f), (1.0f + e.scale) + e.scale * e.fraction};
}

// (e^2x - 1) / (e^2x + 1); from |x| = 9.02 on float32's tanh is +-1.
SEQKIT_INLINE Ratio tanh(Vec x) {
    const Exponential e = exponential(clamp(x, 9.02f), 2.0f * LOG2_E);
    const Vec minus_1 = (e.scale - 1.0f) + e.scale * e.fraction;
    return {minus_1, minus_1 + 2.0f};
}

SEQKIT_INLINE Vec divide(Ratio a) { return a.numerator / a.denominator; }
// Denominators are at most e^40, so their product is below float32's largest number.
SEQKIT_INLINE void divide(Ratio a, Ratio b, Vec& first, Vec& second) {
    const Vec inverse = 1.0f / (a.denominator * b.denominator);
    first = a.numerator * b.denominator * inverse;
    second = b.numerator * a.denominator * inverse;
}

}  // namespace seqkit
