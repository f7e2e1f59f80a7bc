// float16 as the emulated kernels use it: conversions, to nearest even.
#pragma once

#include "cuda_runtime.h"

struct __half {
  uint16_t bits;
};
inline __half __ushort_as_half(uint16_t bits) { return {bits}; }
inline uint16_t __half_as_ushort(__half x) { return x.bits; }

inline float __half2float(__half x) {
  const int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
  const float sign = x.bits >> 15 ? -1.0F : 1.0F;
  if (exponent == 31) return fraction ? __uint_as_float(0x7fc00000U) : sign * __uint_as_float(0x7f800000U);
  return sign * (exponent ? ldexpf(1024.0F + static_cast<float>(fraction), exponent - 25)
                          : ldexpf(static_cast<float>(fraction), -24));
}

inline __half __float2half_rn(float x) {
  const auto sign = static_cast<uint16_t>(signbit(x) ? 0x8000 : 0);
  const float size = fabsf(x);
  if (x != x) return {0x7fff};
  if (size >= 65520.0F) return {static_cast<uint16_t>(sign | 0x7c00)};
  int exponent;
  frexpf(size, &exponent);  // size = m 2^exponent, m in [1/2, 1)
  // Units of the last place, and how many of them: the current rounding mode is to nearest even.
  const int unit = size == 0.0F || exponent - 11 < -24 ? -24 : exponent - 11;
  const auto units = static_cast<unsigned>(lrintf(ldexpf(size, -unit)));
  // 1,024 units or more are a normal number; 2,048 carry into the exponent by themselves.
  const unsigned bits = unit == -24 ? units : units + (static_cast<unsigned>(unit + 24) << 10);
  return {static_cast<uint16_t>(sign | bits)};
}
