// Sums of softmax over a row in one pass: exponents are relative to the largest logit so far.
#pragma once

#include "elements.cuh"
#include "group.cuh"

namespace kdbench::cuda {

// Σ 2^((x - top) * slope). top begins at the lowest number, not at -inf, so that -inf - top is no NaN; rows of -inf
// alone end with a sum of 0. NaN and +inf end as NaN in the sum.
template <class T>
struct Softmax {
  using A = Acc<T>;
  A slope = 0;  // log2(e) / T
  A top = Limits<A>::lowest;
  A sum = 0;

  // Take a new largest logit in, if it is one; the factor by which sums so far shrink.
  __device__ A raise(A candidate) {
    if (!(candidate > top)) return A(1);
    const A factor = exp2_of((top - candidate) * slope);
    top = candidate;
    sum *= factor;
    return factor;
  }
  __device__ A power(A x) const { return exp2_of((x - top) * slope); }
  __device__ A raise(const Lanes<T>& x) {
    A candidate = x[0];
#pragma unroll
    for (int i = 1; i < Element<T>::width; ++i) candidate = larger(candidate, x[i]);
    return raise(candidate);
  }
  __device__ bool numbers() const { return finite(sum) && sum > A(0); }
};

// A weighted sum may be infinite where its weight vanishes.
template <class A>
__device__ inline void shrink(A& sum, A factor) {
  sum = factor == A(0) ? A(0) : sum * factor;
}

// The first element of a row, which others are taken relative to where only differences count.
template <class A>
__device__ inline A pivot_of(A first) {
  return finite(first) ? first : A(0);
}

}  // namespace kdbench::cuda
