// 2^x and ln x on vectors, accurate to the last bit or two.
#pragma once

#include "lanes.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A, int n>
KDBENCH_INLINE V<A> horner(V<A> x, const A (&coefficients)[n]) {
  V<A> value = splat(coefficients[n - 1]);
  for (int i = n - 2; i >= 0; --i) value = value * x + coefficients[i];
  return value;
}

// 2^x for x <= 0; 0 below the smallest normal number, and for -inf; NaN for NaN.
//
// x = n + r with |r| <= 1/2, by adding and taking away 1.5 * 2^(fraction bits) and the exponent's bias, which leaves the
// biased n in the low bits; 2^r by its minimax polynomial, 1 at 0 (relative error 9e-8 in float, 3e-18 in double).
// 2^n is multiplied, not added to the exponent's bits: that would turn some NaNs into numbers.
template <class A>
KDBENCH_INLINE V<A> exp2_of_negative(V<A> x) {
  constexpr bool single = std::is_same_v<A, float>;
  constexpr A rounder = single ? A(0x1.8p23 + 127) : A(0x1.8p52 + 1023);
  constexpr A smallest = single ? A(-126) : A(-1022);
  constexpr int fraction = single ? 23 : 52;
#if defined(__AVX512DQ__)
  // r = x - floor(x) in one instruction and 2^floor(x) * p in another, which also underflows and keeps NaN by itself.
  if constexpr (single) {
    constexpr float c[] = {1.f,
                           0.693151311800269175f,
                           0.240164450201369633f,
                           0.0557999129465711727f,
                           0.0090170305283189355f,
                           0.00186712997944488217f};
    const __m512 v = bit_cast<__m512>(x);
    const V<A> r = bit_cast<V<A>>(_mm512_reduce_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
    return bit_cast<V<A>>(_mm512_scalef_ps(bit_cast<__m512>(horner<A>(r, c)), v));
  }
#endif
  V<A> shifted = x + rounder;
  V<A> r = x - (shifted - rounder);
  V<A> power;
  if constexpr (single) {
    constexpr float c[] = {1.f,
                           0.693146977599156111f,
                           0.240222420853697077f,
                           0.0555073374326362848f,
                           0.00967151263989416733f,
                           0.00132647271936871757f};
    power = horner<A>(r, c);
  } else {
    constexpr double c[] = {1.0,
                            0.69314718055994533,
                            0.240226506959101562,
                            0.0555041086648199215,
                            0.00961812910758833508,
                            0.00133335581467899503,
                            0.00015403530462514613,
                            0.0000152527334899608046,
                            1.3215433089594629e-6,
                            1.01781980333285277e-7,
                            7.07410562624565937e-9,
                            4.43528094461033616e-10};
    power = horner<A>(r, c);
  }
  V<A> scale = bit_cast<V<A>>(bit_cast<I<A>>(shifted) << fraction);
  return x < smallest ? V<A>{} : power * scale;
}

// ln x for normal x > 0; x below the smallest normal number gives the logarithm of that number; NaN for NaN.
//
// x = 2^n * f with f in [sqrt(1/2), sqrt(2)); ln f = 2 artanh(s), s = (f - 1) / (f + 1), by its series in s^2: accurate to
// relative precision around x = 1, where ratios of near-equal probabilities are.
template <class A>
KDBENCH_INLINE V<A> log_of_positive(V<A> x) {
  constexpr bool single = std::is_same_v<A, float>;
  constexpr int fraction = single ? 23 : 52;
  constexpr A smallest = std::numeric_limits<A>::min();
  V<A> normal = x < smallest ? splat(smallest) : x;
  I<A> bits = bit_cast<I<A>>(normal);
  I<A> exponent = (bits - bit_cast<I<A>>(splat(A(0.70710678118654752)))) >> fraction;
  V<A> f = bit_cast<V<A>>(bits - (exponent << fraction));
  V<A> n = __builtin_convertvector(exponent, V<A>);
  V<A> s = (f - A(1)) / (f + A(1));
  V<A> s2 = s * s, series;
  if constexpr (single) {
    constexpr float c[] = {2.f, 2.f / 3, 2.f / 5, 2.f / 7, 2.f / 9};
    series = horner<A>(s2, c);
  } else {
    constexpr double c[] = {2.,      2. / 3,  2. / 5,  2. / 7,  2. / 9,  2. / 11,
                            2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21, 2. / 23};
    series = horner<A>(s2, c);
  }
  constexpr A ln2_high = single ? A(0x1.62e4p-1) : A(0x1.62e42fefap-1);
  constexpr A ln2_low = A(0.693147180559945309417232L - (long double)ln2_high);
  V<A> value = n * ln2_high + (s * series + n * ln2_low);
  return x == x ? value : x;
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
