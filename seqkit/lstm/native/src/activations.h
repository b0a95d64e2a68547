// The gates' nonlinearities on vectors. Both rest on e^x - 1 computed without cancellation, so their relative error
// stays at a few units in the last place, near 0 too. A NaN comes out as a NaN: a training that diverged must show it.
#pragma once

#include "vectors.h"

namespace seqkit {

struct Exponential {
    Vec scale;     // 2^n
    Vec fraction;  // 2^f - 1, with x log2(e) = n + f and |f| <= 1/2
};

// x within +-87, or NaN: e^x = scale * (1 + fraction). The polynomial is the Taylor series of 2^f - 1, whose first term
// left out is (ln 2 / 2)^8 / 8! = 5e-9, a twelfth of float32's rounding.
SEQKIT_INLINE Exponential exponential(Vec x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer and leaves that in the low bits
    const Vec shifted = x * 1.442695040888963f + magic;
    const Vec n = shifted - magic;
    const Vec f = x * 1.442695040888963f - n;
    Vec p = broadcast(1.5252733804e-5f);  // ln(2)^k / k! from k = 7 down
    p = p * f + 1.5403530393e-4f;
    p = p * f + 1.3333558146e-3f;
    p = p * f + 9.6181291076e-3f;
    p = p * f + 5.5504108665e-2f;
    p = p * f + 2.4022650696e-1f;
    p = p * f + 6.9314718056e-1f;
    const IntVec bits = ((IntVec)shifted << 23) + 0x3f800000;
    return {(Vec)bits, p * f};
}

// Both comparisons are false for a NaN, which therefore passes.
SEQKIT_INLINE Vec clamp(Vec x, float bound) {
    x = x < -bound ? broadcast(-bound) : x;
    return x > bound ? broadcast(bound) : x;
}

// A nonlinearity before its division. Divisions are the slowest instructions here, so two are made into one: of the
// five for a step, three remain (with AVX-512 a twentieth of the time of forward at H = 128).
struct Ratio {
    Vec numerator, denominator;
};

// 1 / (1 + e^-x); beyond +-40 it is 0 or 1 to within 5e-18.
SEQKIT_INLINE Ratio sigmoid(Vec x) {
    const Exponential e = exponential(clamp(-x, 40.0f));
    return {broadcast(1.0f), 1.0f + (e.scale + e.scale * e.fraction)};
}

// (e^2x - 1) / (e^2x + 1); from |x| = 9.02 on float32's tanh is +-1.
SEQKIT_INLINE Ratio tanh(Vec x) {
    const Exponential e = exponential(2.0f * clamp(x, 9.02f));
    const Vec minus_1 = e.scale * e.fraction + (e.scale - 1.0f);
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
