// KL(p || q), p the teacher's distribution and q = softmax(student / T): the term itself, and the operator kl.
#pragma once

#include "rows_kernel.cuh"
#include "softmax_sums.cuh"

namespace kdbench::cuda {

// With E_p the mean under p, in base 2 and relative to any constants: KL = E_p[t - s] + lse(s) - lse(t), and its gradient
// by the student (q Σp - p) / T. Standardised logits z = (x - mean) / d, d = std + 1e-7, have softmax(z / T) =
// softmax(x / (T d)); the gradient by x is [g - (x - mean) / (V std d) Σ g (x - mean)] / d, g that by z, since Σ g = 0.
template <class T>
struct KlTerm {
  using A = Acc<T>;
  static constexpr int W = Element<T>::width;

  bool standardize = false, given = false, probs = false;
  A factor = 0, temperature = 1;
  A pivot_s = 0, pivot_t = 0;
  A mean_s = 0, std_s = 0, divisor_s = 1;  // the mean is relative to the pivot
  Softmax<T> student, teacher;
  A cross = 0;             // Σ 2^t (t - s)
  A along_q = 0, along_p = 0;  // Σ 2^s (x - pivot), Σ 2^t (x - pivot), x the student's logits
  A scale_q = 0, scale_p = 0, bend = 0;

  // Before the row is gone over; goes over it where standard deviations are wanted.
  template <class R, class G>
  __device__ void begin(const Problem& problem, int64_t index, A factor_, R& row, G& group, A first_s, A first_t) {
    standardize = problem.standardize;
    given = problem.teacher_is != TeacherIs::logits;
    probs = problem.teacher_is == TeacherIs::probs;
    factor = factor_;
    temperature = temperature_of<A>(problem, index);
    pivot_s = pivot_of(first_s);
    pivot_t = pivot_of(probs ? log2_of(first_t) : first_t);
    student.slope = teacher.slope = quotient(A(kLog2E), temperature);
    // Given probabilities are exponentials already: relative to 0, at no temperature; probabilities as their log2.
    if (given) teacher.slope = probs ? A(1) : A(kLog2E), teacher.top = 0;
    if (standardize) deviations(row, group);
  }

  __device__ void add(const Lanes<T>& s, const Lanes<T>& t_raw) {
    Lanes<T> t;
    logits_of_teacher(t_raw, t);
    const A shrunk_s = student.raise(s);
    const A shrunk_t = given ? A(1) : teacher.raise(t);
    if (shrunk_t != A(1)) shrink(cross, shrunk_t);
#pragma unroll
    for (int i = 0; i < W; ++i) {
      student.sum += student.power(s[i]);
      const A power = teacher.power(t[i]);
      teacher.sum += power;
      const A difference = (t[i] - pivot_t) * teacher.slope - (s[i] - pivot_s) * student.slope;
      // A class that the teacher rules out adds nothing, whatever the student says.
      cross += power == A(0) ? A(0) : power * difference;
    }
    if (standardize) {
      along_q *= shrunk_s;
      along_p *= shrunk_t;
#pragma unroll
      for (int i = 0; i < W; ++i) {
        const A q = student.power(s[i]), p = teacher.power(t[i]);
        along_q += q == A(0) ? A(0) : q * (s[i] - pivot_s);
        along_p += p == A(0) ? A(0) : p * (s[i] - pivot_s);
      }
    }
  }

  // Sums of the group; KL in nats.
  template <class R, class G>
  __device__ A reduce(R& row, G& group) {
    A tops[2] = {student.top, teacher.top};
    group.template reduce<Max>(tops);
    const A shrunk_s = student.raise(tops[0]);
    const A shrunk_t = given ? A(1) : teacher.raise(tops[1]);
    shrink(cross, shrunk_t);
    A sums[3] = {student.sum, teacher.sum, cross};
    group.template reduce<Add>(sums);
    student.sum = sums[0], teacher.sum = sums[1], cross = sums[2];
    const A mass = given ? teacher.sum : A(1);
    const A step = quotient(factor, temperature * divisor_s);
    scale_q = quotient(step * mass, student.sum);
    scale_p = given ? step : quotient(step, teacher.sum);
    if (standardize) {
      A along[2] = {along_q * shrunk_s, along_p * shrunk_t};
      group.template reduce<Add>(along);
      const A slope = scale_q * along[0] - scale_p * along[1];
      bend = std_s > A(0) ? quotient(slope, std_s * divisor_s * static_cast<A>(row.classes())) : A(0);
    }
    const double top_s = static_cast<double>(student.top - pivot_s) * student.slope;
    const double top_t = static_cast<double>(teacher.top - pivot_t) * teacher.slope;  // given: the top is 0
    // Sums over a group are no less exact than a double's last step needs: the tops are what may be large.
    // Sums of given probabilities are not divided by anything, and so their logarithms do not cancel: in double too.
    const double bits = given ? cross + mass * (log2_of(static_cast<double>(student.sum)) + (top_s - top_t))
                              : quotient(cross, teacher.sum) + log2_of(quotient(student.sum, teacher.sum)) + (top_s - top_t);
    return static_cast<A>(bits * kLn2);
  }

  __device__ bool numbers() const { return student.numbers() && (given ? finite(teacher.sum) : teacher.numbers()); }

  __device__ void gradient(const Lanes<T>& s, const Lanes<T>& t_raw, Lanes<T>& g) const {
    Lanes<T> t;
    logits_of_teacher(t_raw, t);
#pragma unroll
    for (int i = 0; i < W; ++i) g[i] = student.power(s[i]) * scale_q - teacher.power(t[i]) * scale_p;
    if (standardize) {
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
    student.slope = static_cast<A>(quotient(kLog2E, temperature * (std + 1e-7)));
    if (given) return;
    const double std_t = sqrt(quotient(static_cast<double>(squares[1]), static_cast<double>(count)));
    teacher.slope = static_cast<A>(quotient(kLog2E, temperature * (std_t + 1e-7)));
  }
};

template <class T>
struct Kl : LossBase<T, 1> {
  using Base = LossBase<T, 1>;
  using A = Acc<T>;

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
  KlTerm<T> term_;
};

}  // namespace kdbench::cuda
