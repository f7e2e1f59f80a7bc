// Sums of softmax over a row in one pass: exponents are relative to the largest logit so far.
#pragma once

#include "elements.cuh"
#include "group.cuh"

namespace kdbench::cuda {

template <class T>
__device__ inline Acc<T> largest(const Lanes<T>& x) {
  Acc<T> found = x[0];
#pragma unroll
  for (int i = 1; i < Element<T>::width; ++i) found = larger(found, x[i]);
  return found;
}

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
  __device__ A raise(const Lanes<T>& x) { return raise(largest<T>(x)); }
  __device__ bool numbers() const { return finite(sum) && sum > A(0); }
};

// A weighted sum may be infinite where its weight vanishes.
template <class A>
__device__ inline void shrink(A& sum, A factor) {
  sum = factor == A(0) ? A(0) : sum * factor;
}

// Both sides, and Σ 2^t (t - s) with t and s the exponents: with its help KL is cross / Σ 2^t + log2(Σ 2^s / Σ 2^t), where
// nothing cancels but what must. `given`: the teacher's are probabilities already, whose top stays 0.
template <class T>
struct SoftmaxPair {
  using A = Acc<T>;
  Softmax<T> student, teacher;
  A cross = 0;
  bool given = false;
  A origin = 0;  // given: t is relative to this instead

  // Take larger tops in; the factors by which sums so far shrink.
  __device__ void raise(A top_s, A top_t, A& shrunk_s, A& shrunk_t) {
    const A old_s = student.top, old_t = teacher.top, weight = teacher.sum;
    shrunk_s = student.raise(top_s);
    shrunk_t = given ? A(1) : teacher.raise(top_t);
    if (student.top == old_s && teacher.top == old_t) return;
    const A moved = (old_t - teacher.top) * teacher.slope + (student.top - old_s) * student.slope;
    if (weight > A(0)) cross += weight * moved;
    if (shrunk_t != A(1)) shrink(cross, shrunk_t);
  }
  __device__ void add(const Lanes<T>& s, const Lanes<T>& t, A& shrunk_s, A& shrunk_t) {
    raise(largest<T>(s), largest<T>(t), shrunk_s, shrunk_t);
    const A top_t = given ? origin : teacher.top;
#pragma unroll
    for (int i = 0; i < Element<T>::width; ++i) {
      const A x = (s[i] - student.top) * student.slope;
      const A power = teacher.power(t[i]);
      student.sum += exp2_of(x);
      teacher.sum += power;
      // A class that the teacher rules out adds nothing, whatever the student says.
      cross += power == A(0) ? A(0) : power * ((t[i] - top_t) * teacher.slope - x);
    }
  }
  // Sums of the group; the factors by which this thread's own shrank on the way.
  template <class G>
  __device__ void reduce(G& group, A& shrunk_s, A& shrunk_t) {
    A tops[2] = {student.top, teacher.top};
    group.template reduce<Max>(tops);
    raise(tops[0], tops[1], shrunk_s, shrunk_t);
    A sums[3] = {student.sum, teacher.sum, cross};
    group.template reduce<Add>(sums);
    student.sum = sums[0], teacher.sum = sums[1], cross = sums[2];
  }
  // After reduce, in nats.
  __device__ A divergence() const {
    // Sums of given probabilities are not divided by anything, and their logarithms do not cancel: in double.
    if (given) {
      const double lse = log2_of(static_cast<double>(student.sum)) + static_cast<double>(origin) * teacher.slope;
      return static_cast<A>((cross + teacher.sum * lse) * kLn2);
    }
    return (quotient(cross, teacher.sum) + log2_of(quotient(student.sum, teacher.sum))) * A(kLn2);
  }
};

// The first element of a row, which others are taken relative to where only differences count.
template <class A>
__device__ inline A pivot_of(A first) {
  return finite(first) ? first : A(0);
}

}  // namespace kdbench::cuda
