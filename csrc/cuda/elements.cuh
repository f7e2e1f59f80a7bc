// Elements as they lie in memory, 16-byte vectors of them, and the arithmetic type they are computed in.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace kdbench::cuda {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

// Acc: the type of arithmetic; width: elements of a 16-byte vector.
template <class T>
struct Element {
  using Acc = float;
  static constexpr int width = 16 / sizeof(T);
};
template <>
struct Element<double> {
  using Acc = double;
  static constexpr int width = 2;
};
template <class T>
using Acc = typename Element<T>::Acc;
template <class T>
using Lanes = Acc<T>[Element<T>::width];

template <class A>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float lowest = -3.402823466e+38F;
};
template <>
struct Limits<double> {
  static constexpr double lowest = -1.7976931348623157e+308;
};

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;

// Not the fast-math versions: these keep NaN, infinities and denormals.
__device__ inline float exp2_of(float x) { return exp2f(x); }
__device__ inline double exp2_of(double x) { return exp2(x); }
__device__ inline float log2_of(float x) { return log2f(x); }
__device__ inline double log2_of(double x) { return log2(x); }
__device__ inline float exp_of(float x) { return expf(x); }
__device__ inline double exp_of(double x) { return exp(x); }
__device__ inline float log1p_of(float x) { return log1pf(x); }
__device__ inline double log1p_of(double x) { return log1p(x); }
__device__ inline float expm1_of(float x) { return expm1f(x); }
__device__ inline double expm1_of(double x) { return expm1(x); }
__device__ inline float larger(float a, float b) { return fmaxf(a, b); }  // of a number and NaN: the number
__device__ inline double larger(double a, double b) { return fmax(a, b); }

// a / b to the last bit or two. The exact division of doubles is a call, around which registers would be spilled.
__device__ inline float quotient(float a, float b) { return a / b; }
__device__ inline double quotient(double a, double b) {
#ifdef __CUDA_ARCH__
  double r;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(r) : "d"(b));
  r = fma(r, fma(-b, r, 1.0), r);
  r = fma(r, fma(-b, r, 1.0), r);
  const double q = a * r;
  return fma(r, fma(-b, q, a), q);
#else
  return a / b;
#endif
}

template <class A>
__device__ inline A infinity() {
  return static_cast<A>(__uint_as_float(0x7f800000U));
}
template <class A>
__device__ inline A nan() {
  return static_cast<A>(__uint_as_float(0x7fc00000U));
}
template <class A>
__device__ inline bool finite(A x) {
  return x - x == A(0);
}

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
__device__ inline float widen(f16 x) { return __half2float(__ushort_as_half(x.bits)); }

__device__ inline void narrow(float x, float& out) { out = x; }
__device__ inline void narrow(double x, double& out) { out = x; }
__device__ inline void narrow(float x, bf16& out) { out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
__device__ inline void narrow(float x, f16& out) { out.bits = __half_as_ushort(__float2half_rn(x)); }

__device__ inline uint4 assemble(const float (&x)[4]) {
  return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3]));
}
__device__ inline uint4 assemble(const double (&x)[2]) {
  const auto a = static_cast<uint64_t>(__double_as_longlong(x[0]));
  const auto b = static_cast<uint64_t>(__double_as_longlong(x[1]));
  return make_uint4(static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32), static_cast<uint32_t>(b),
                    static_cast<uint32_t>(b >> 32));
}
template <class T>  // bf16, f16
__device__ inline uint4 assemble(const T (&x)[8]) {
  const auto two = [&](int i) {
    return static_cast<uint32_t>(x[i].bits) | static_cast<uint32_t>(x[i + 1].bits) << 16;
  };
  return make_uint4(two(0), two(2), two(4), two(6));
}

template <class T>
__device__ inline void take_apart(const uint4& v, T (&x)[8]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i].bits = static_cast<uint16_t>(words[i / 2] >> (i % 2 * 16));
}
__device__ inline void take_apart(const uint4& v, float (&x)[4]) {
  x[0] = __uint_as_float(v.x), x[1] = __uint_as_float(v.y), x[2] = __uint_as_float(v.z), x[3] = __uint_as_float(v.w);
}
__device__ inline void take_apart(const uint4& v, double (&x)[2]) {
  x[0] = __longlong_as_double(static_cast<int64_t>(v.x | static_cast<uint64_t>(v.y) << 32));
  x[1] = __longlong_as_double(static_cast<int64_t>(v.z | static_cast<uint64_t>(v.w) << 32));
}

template <class T>
__device__ inline void unpack(const uint4& v, Lanes<T>& x) {
  T parts[Element<T>::width];
  take_apart(v, parts);
#pragma unroll
  for (int i = 0; i < Element<T>::width; ++i) x[i] = widen(parts[i]);
}

template <class T>
__device__ inline uint4 pack(const Lanes<T>& x) {
  T parts[Element<T>::width];
#pragma unroll
  for (int i = 0; i < Element<T>::width; ++i) narrow(x[i], parts[i]);
  return assemble(parts);
}

}  // namespace kdbench::cuda
