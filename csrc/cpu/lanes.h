// Vectors of floats or doubles as wide as the instruction set, written once with the compiler's vector extension: no
// intrinsics (but for the streaming store), no reliance on auto-vectorisation, and IEEE semantics of inf and NaN.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define KDBENCH_INLINE inline __attribute__((always_inline))
#define KDBENCH_LAMBDA_INLINE __attribute__((always_inline))

#if defined(__AVX512F__)
#define KDBENCH_VECTOR_BYTES 64
#elif defined(__AVX__)
#define KDBENCH_VECTOR_BYTES 32
#else
#define KDBENCH_VECTOR_BYTES 16
#endif

#define KDBENCH_CONCAT2(a, b) a##b
#define KDBENCH_CONCAT(a, b) KDBENCH_CONCAT2(a, b)
// Everything below is compiled once for each instruction set: its names must differ, or the linker keeps only one.
#define KDBENCH_ISA_NAMESPACE KDBENCH_CONCAT(isa_, KDBENCH_ISA)

namespace kdbench::KDBENCH_ISA_NAMESPACE {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

template <class A>
struct Lanes;

template <>
struct Lanes<float> {
  typedef float V __attribute__((vector_size(KDBENCH_VECTOR_BYTES)));
  typedef int32_t I __attribute__((vector_size(KDBENCH_VECTOR_BYTES)));
  static constexpr int width = KDBENCH_VECTOR_BYTES / sizeof(float);
};

template <>
struct Lanes<double> {
  typedef double V __attribute__((vector_size(KDBENCH_VECTOR_BYTES)));
  typedef int64_t I __attribute__((vector_size(KDBENCH_VECTOR_BYTES)));
  static constexpr int width = KDBENCH_VECTOR_BYTES / sizeof(double);
};

template <class A>
using V = typename Lanes<A>::V;
template <class A>
using I = typename Lanes<A>::I;
template <class A>
constexpr int width = Lanes<A>::width;
template <class A>
constexpr A infinity = std::numeric_limits<A>::infinity();

template <class A>
KDBENCH_INLINE V<A> splat(A value) {
  return V<A>{} + value;
}

template <class To, class From>
KDBENCH_INLINE To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

typedef uint16_t Halves __attribute__((vector_size(KDBENCH_VECTOR_BYTES / 2)));
typedef uint32_t Words __attribute__((vector_size(KDBENCH_VECTOR_BYTES)));

// Unaligned load of width<A> elements, widened to A.
template <class A, class In>
KDBENCH_INLINE V<A> load(const In* from) {
  if constexpr (std::is_same_v<A, In>) {
    V<A> value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  } else {
    Halves raw;
    std::memcpy(&raw, from, sizeof(raw));
    Words bits = __builtin_convertvector(raw, Words);
    if constexpr (std::is_same_v<In, bf16>) {
      return bit_cast<V<A>>(bits << 16);
    } else {
      // Exponent and fraction moved into place; the multiplication mends the exponent's bias, of denormals too.
      Words magnitude = (bits & 0x7fff) << 13;
      Words finite = bit_cast<Words>(bit_cast<V<float>>(magnitude) * 0x1p112f);
      Words special = magnitude | 0x7f800000u;
      Words chosen = (bits & 0x7c00) == 0x7c00 ? special : finite;
      return bit_cast<V<A>>(chosen | ((bits & 0x8000) << 16));
    }
  }
}

KDBENCH_INLINE Words round_to_bf16(Words bits) { return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; }

KDBENCH_INLINE Words round_to_f16(V<float> value) {
  Words bits = bit_cast<Words>(value), magnitude = bits & 0x7fffffff;
  // Above 2^-14 the fraction is rounded as an integer; below, adding 1/2 aligns it so that the hardware rounds.
  Words normal = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  Words denormal = bit_cast<Words>(bit_cast<V<float>>(magnitude) + 0.5f) - 0x3f000000u;
  Words half = magnitude < 0x38800000u ? denormal : normal;
  half = magnitude >= 0x47800000u ? Words{} + 0x7c00 : half;  // 65536 and more; 65520 up to there carry into it
  return half | ((bits >> 16) & 0x8000);
}

// Unaligned store, rounded to nearest even; NaN stays NaN.
template <class A, class Out>
KDBENCH_INLINE void store(Out* to, V<A> value) {
  if constexpr (std::is_same_v<A, Out>) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    Words bits;
    if constexpr (std::is_same_v<Out, bf16>) {
      bits = round_to_bf16(bit_cast<Words>(value));
    } else {
      bits = round_to_f16(value);
    }
    const Words nan = Words{} + (std::is_same_v<Out, bf16> ? 0x7fc0u : 0x7e00u);
    bits = value == value ? bits : nan;
    Halves raw = __builtin_convertvector(bits, Halves);
    std::memcpy(to, &raw, sizeof(raw));
  }
}

// Store to an address that is a multiple of the vector's size, past the caches: no read for ownership.
template <class A>
KDBENCH_INLINE void store_streaming(A* to, V<A> value) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bit_cast<__m512i>(value));
#elif defined(__AVX__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bit_cast<__m256i>(value));
#else
  std::memcpy(to, &value, sizeof(value));
#endif
}

KDBENCH_INLINE void streaming_done() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

template <class A>
KDBENCH_INLINE V<A> larger(V<A> a, V<A> b) {
  return a > b ? a : b;
}

// Fold a vector to one value by halves; `op` takes two vectors of any one width.
template <int lanes, class A, class Vec, class Op>
KDBENCH_INLINE A fold_halves(Vec value, Op op) {
  if constexpr (lanes == 1) {
    return value[0];
  } else if constexpr (lanes * sizeof(A) > 16) {
    typedef A Half __attribute__((vector_size(lanes / 2 * sizeof(A))));
    Half half[2];
    std::memcpy(half, &value, sizeof(value));
    return fold_halves<lanes / 2, A>(op(half[0], half[1]), op);
  } else if constexpr (lanes == 4) {
    typedef int32_t Index __attribute__((vector_size(16)));
    value = op(value, __builtin_shuffle(value, Index{2, 3, 0, 1}));
    return op(value, __builtin_shuffle(value, Index{1, 0, 3, 2}))[0];
  } else {
    typedef int64_t Index __attribute__((vector_size(16)));
    return op(value, __builtin_shuffle(value, Index{1, 0}))[0];
  }
}

template <class A>
KDBENCH_INLINE A sum(V<A> value) {
  return fold_halves<width<A>, A>(value, [](auto a, auto b) { return a + b; });
}

template <class A>
KDBENCH_INLINE A maximum(V<A> value) {
  return fold_halves<width<A>, A>(value, [](auto a, auto b) { return a > b ? a : b; });
}

// All bits set in the lanes from `first` on.
template <class A>
KDBENCH_INLINE I<A> lanes_from(int first) {
  I<A> lane{};
  for (int i = 0; i < width<A>; ++i) lane[i] = i;
  return lane >= first;
}

template <class A>
KDBENCH_INLINE V<A> keep(I<A> mask, V<A> value) {
  return bit_cast<V<A>>(mask & bit_cast<I<A>>(value));
}

// total + a * b where a is not 0; b may then be inf or NaN.
template <class A>
KDBENCH_INLINE V<A> add_product(V<A> total, V<A> a, V<A> b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<A, float>) {
    const __m512 factor = bit_cast<__m512>(a);
    const __mmask16 present = _mm512_cmp_ps_mask(factor, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    return bit_cast<V<A>>(_mm512_mask3_fmadd_ps(factor, bit_cast<__m512>(b), bit_cast<__m512>(total), present));
  }
#endif
  return total + (a == A(0) ? V<A>{} : a * b);
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
