// KL(p || q), p the teacher's distribution and q = softmax(student / T): the term itself, and the operator kl.
#pragma once

#include "rows_kernel.cuh"
#include "softmax_sums.cuh"

namespace kdbench::cuda {

// The gradient by the student is (q Σp - p) / T. Standardised logits z = (x - mean) / d, d = std + 1e-7, have softmax(z / T) =
// softmax(x / (T d)); the gradient by x is [g - (x - mean) / (V std d) Σ g (x - mean)] / d, g that by z, since Σ g = 0.
template <class T, bool Standardize>
struct KlTerm {
  using A = Acc<T>;
  static constexpr int W = Element<T>::width;

  bool probs = false;
  A factor = 0, temperature = 1;
  A pivot_s = 0, pivot_t = 0;              // Standardize: sums are of differences from these
  A mean_s = 0, std_s = 0, divisor_s = 1;  // the mean is relative to the pivot
  SoftmaxPair<T> pair;
  A along_q = 0, along_p = 0;  // Σ 2^s (x - pivot), Σ 2^t (x - pivot), x the student's logits
  A scale_q = 0, scale_p = 0, bend = 0;

  // Before the row is gone over; goes over it where standard deviations are wanted.
  template <class R, class G>
  __device__ void begin(const Problem& problem, int64_t index, A factor_, R& row, G& group, A first_s, A first_t) {
    pair.given = problem.teacher_is != TeacherIs::logits;
    probs = problem.teacher_is == TeacherIs::probs;
    factor = factor_;
    temperature = temperature_of<A>(problem, index);
    pivot_s = pivot_of(first_s);
    pivot_t = pivot_of(probs ? log2_of(first_t) : first_t);
    pair.student.slope = pair.teacher.slope = quotient(A(kLog2E), temperature);
    // Given probabilities are exponentials already: relative to 0, at no temperature; probabilities as their log2.
    if (pair.given) {
      pair.teacher.slope = probs ? A(1) : A(kLog2E);
      pair.teacher.top = 0;
      pair.origin = pivot_t;
    }
    if constexpr (Standardize) deviations(row, group);
  }

  __device__ void add(const Lanes<T>& s, const Lanes<T>& t_raw) {
    Lanes<T> t;
    logits_of_teacher(t_raw, t);
    A shrunk_s, shrunk_t;
    pair.add(s, t, shrunk_s, shrunk_t);
    if constexpr (Standardize) {
      along_q *= shrunk_s;
      along_p *= shrunk_t;
#pragma unroll
      for (int i = 0; i < W; ++i) {
        const A q = pair.student.power(s[i]), p = pair.teacher.power(t[i]);
        along_q += q == A(0) ? A(0) : q * (s[i] - pivot_s);
        along_p += p == A(0) ? A(0) : p * (s[i] - pivot_s);
      }
    }
  }

  // Sums of the group; KL in nats.
  template <class R, class G>
  __device__ A reduce(R& row, G& group) {
    A shrunk_s, shrunk_t;
    pair.reduce(group, shrunk_s, shrunk_t);
    const A mass = pair.given ? pair.teacher.sum : A(1);
    const A step = quotient(factor, temperature * divisor_s);
    scale_q = quotient(step * mass, pair.student.sum);
    scale_p = pair.given ? step : quotient(step, pair.teacher.sum);
    if constexpr (Standardize) {
      A along[2] = {along_q * shrunk_s, along_p * shrunk_t};
      group.template reduce<Add>(along);
      const A slope = scale_q * along[0] - scale_p * along[1];
      bend = std_s > A(0) ? quotient(slope, std_s * divisor_s * static_cast<A>(row.classes())) : A(0);
    }
    return pair.divergence();
  }

  __device__ bool numbers() const {
    return pair.student.numbers() && (pair.given ? finite(pair.teacher.sum) : pair.teacher.numbers());
  }

  __device__ void gradient(const Lanes<T>& s, const Lanes<T>& t_raw, Lanes<T>& g) const {
    Lanes<T> t;
    logits_of_teacher(t_raw, t);
#pragma unroll
    for (int i = 0; i < W; ++i) g[i] = pair.student.power(s[i]) * scale_q - pair.teacher.power(t[i]) * scale_p;
    if constexpr (Standardize) {
#pragma unroll
      for (int i = 0; i < W; ++i) g[i] -= (s[i] - pivot_s - mean_s) * bend;
    }
  }

 private:
  __device__ void logits_of_teacher(const Lanes<T>& raw, Lanes<T>& t) const {
#pragma unroll
    for (int i = 0; i < W; ++i) t[i] = raw[i];
    if (probs) {
#pragma unroll
      for (int i = 0; i < W; ++i) t[i] = log2_of(raw[i]);
    }
  }

  // Means, then squares of what is left: two passes, since one would cancel.
  template <class R, class G>
  __device__ void deviations(R& row, G& group) {
    const auto count = static_cast<A>(row.classes());
    A means[2] = {}, squares[2] = {};
    row.each([&](int first, const Lanes<T>& s, const Lanes<T>& t) {
#pragma unroll
      for (int i = 0; i < W; ++i) {
        if (first + i >= 0 && first + i < row.classes()) means[0] += s[i] - pivot_s, means[1] += t[i] - pivot_t;
      }
    });
    group.template reduce<Add>(means);
    means[0] = quotient(means[0], count), means[1] = quotient(means[1], count);
    row.each([&](int first, const Lanes<T>& s, const Lanes<T>& t) {
#pragma unroll
      for (int i = 0; i < W; ++i) {
        if (first + i < 0 || first + i >= row.classes()) continue;
        const A a = s[i] - pivot_s - means[0], b = t[i] - pivot_t - means[1];
        squares[0] += a * a, squares[1] += b * b;
      }
    });
    group.template reduce<Add>(squares);
    mean_s = means[0];
    // In double: what is off here is off in the same way in every term of the sums.
    const double std = sqrt(quotient(static_cast<double>(squares[0]), static_cast<double>(count)));
    std_s = static_cast<A>(std);
    divisor_s = static_cast<A>(std + 1e-7);
    pair.student.slope = static_cast<A>(quotient(kLog2E, temperature * (std + 1e-7)));
    if (pair.given) return;
    const double std_t = sqrt(quotient(static_cast<double>(squares[1]), static_cast<double>(count)));
    pair.teacher.slope = static_cast<A>(quotient(kLog2E, temperature * (std_t + 1e-7)));
  }
};

template <class T, bool Standardize>
struct Kl : LossBase<T, 1> {
  using Base = LossBase<T, 1>;
  using A = Acc<T>;
  // z-scores have sums of their own to keep.
  static constexpr int kBlockThreads = Standardize && sizeof(T) < 8 ? 512 : Base::kBlockThreads;

  __device__ Kl(const Problem& problem, int64_t index) : probs_(problem.teacher_is == TeacherIs::probs) {
    factor_ = per_row<A>(problem.row_scale, index, problem.scale);
    this->counts = factor_ != A(0) && problem.classes > 0;
  }

  __device__ T outside_teacher() const {
    T zero{};
    return probs_ ? zero : Base::outside_student();
  }

  template <class R, class G>
  __device__ void measure(const Problem& problem, int64_t index, R& row, G& group, uint32_t*) {
    term_.begin(problem, index, factor_, row, group, row.first_student(), row.first_teacher());
    row.each([&](int, const Lanes<T>& s, const Lanes<T>& t) { term_.add(s, t); });
    const A kl = term_.reduce(row, group);
    this->terms[0] = factor_ * kl;
    this->numbers = term_.numbers();
  }

  __device__ unsigned gradient(int, const Lanes<T>& s, const Lanes<T>& t, Lanes<T>& g) const {
    term_.gradient(s, t, g);
    return Base::kWhole;
  }

 private:
  A factor_;
  bool probs_;
  KlTerm<T, Standardize> term_;
};

template <class T>
using KlOfLogits = Kl<T, false>;
template <class T>
using KlOfScores = Kl<T, true>;

}  // namespace kdbench::cuda
