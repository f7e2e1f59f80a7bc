// Decoupled distillation (Zhao et al., 2022, eq. 7): alpha * target term + beta * non-target term.
//
// The target term is KL between two Bernoullis of the target class, taken from their log-odds u = x_y - lse(others), so
// that nothing cancels where the target is all but certain; the non-target term is KL of the softmaxes without it.
#pragma once

#include "rows_kernel.cuh"
#include "softmax_sums.cuh"

namespace kdbench::cuda {

// KL of Bernoullis with log-odds p and q, and sigmoid(q) - sigmoid(p).
template <class A>
struct Bernoulli {
  A divergence, difference;

  __device__ Bernoulli(A p, A q) {
    // The rarer of the two outcomes, whose probability keeps its digits.
    const bool swapped = p > A(0);
    if (swapped) p = -p, q = -q;
    const A power = exp_of(p), b = quotient(power, A(1) + power), d = q - p;
    if (p == q) {
      divergence = 0;  // both may be infinite
    } else if (b == A(0)) {
      divergence = softplus(q);
    } else if (d > A(20)) {
      divergence = finite(q) ? softplus(q) - log1p_of(power) - b * d : infinity<A>();
    } else {
      divergence = log1p_of(b * expm1_of(d)) - b * d;
    }
    difference = sigmoid(q) - b;
    if (swapped) difference = -difference;
  }

 private:
  __device__ static A softplus(A x) { return larger(x, A(0)) + log1p_of(exp_of(x > A(0) ? -x : x)); }
  __device__ static A sigmoid(A x) {
    const A power = exp_of(x > A(0) ? -x : x);
    return quotient(x > A(0) ? A(1) : power, A(1) + power);
  }
};

template <class T>
struct Dkd : LossBase<T, 2> {
  using Base = LossBase<T, 2>;
  using A = Acc<T>;
  static constexpr int W = Base::W;
  // The label costs a few registers: 72 for each thread.
  static constexpr int kBlockThreads = sizeof(T) == 4 ? 896 : Base::kBlockThreads;

  __device__ Dkd(const Problem& problem, int64_t index)
      : label_(problem.labels[index]), factor_(per_row<A>(problem.row_scale, index, problem.scale)) {
    this->counts = label_ != problem.ignore_index && factor_ != A(0) && problem.classes > 0;
    known_ = label_ >= 0 && label_ < problem.classes;
  }

  template <class R, class G>
  __device__ void measure(const Problem& problem, int64_t index, R& row, G& group, uint32_t*) {
    const bool looks = row.reads() && known_;
    const A target_s = looks ? row.student_at(static_cast<int>(label_)) : A(0);
    const A target_t = looks ? row.teacher_at(static_cast<int>(label_)) : A(0);
    const A temperature = temperature_of<A>(problem, index);
    pair_.student.slope = pair_.teacher.slope = quotient(A(kLog2E), temperature);
    A shrunk_s, shrunk_t;
    row.each([&](int first, const Lanes<T>& s_all, const Lanes<T>& t_all) {
      Lanes<T> s, t;
      others(first, s_all, s);
      others(first, t_all, t);
      pair_.add(s, t, shrunk_s, shrunk_t);
    });
    pair_.reduce(group, shrunk_s, shrunk_t);

    // A teacher that is sure of the target has no other classes to be like: the non-target term is 0.
    const bool only_target = pair_.teacher.sum == A(0);
    this->numbers = known_ && logit(target_s) && finite(pair_.student.sum) && finite(pair_.teacher.sum) &&
                    (only_target ? finite(target_t) : logit(target_t));
    // No other class is possible, in either: nothing to tell apart.
    alone_ = only_target && pair_.student.sum == A(0);
    if (alone_) {
      this->numbers = this->numbers && finite(target_s);
      return;
    }
    this->numbers = this->numbers && pair_.student.sum > A(0);
    const Bernoulli<A> target(odds(target_t, pair_.teacher), odds(target_s, pair_.student));
    this->terms[0] = factor_ * target.divergence;
    this->terms[1] = only_target ? A(0) : factor_ * pair_.divergence();
    const A step = quotient(factor_, temperature);
    const A alpha = static_cast<A>(problem.alpha), beta = only_target ? A(0) : static_cast<A>(problem.beta);
    at_target_ = step * alpha * target.difference;
    scale_q_ = quotient(step * beta - at_target_, pair_.student.sum);
    scale_p_ = only_target ? A(0) : quotient(step * beta, pair_.teacher.sum);
  }

  __device__ unsigned gradient(int first, const Lanes<T>& s, const Lanes<T>& t, Lanes<T>& g) const {
#pragma unroll
    for (int i = 0; i < W; ++i) {
      g[i] = alone_ ? A(0) : pair_.student.power(s[i]) * scale_q_ - pair_.teacher.power(t[i]) * scale_p_;
      if (first + i == label_) g[i] = at_target_;
    }
    return Base::kWhole;
  }

 private:
  __device__ void others(int first, const Lanes<T>& all, Lanes<T>& x) const {
#pragma unroll
    for (int i = 0; i < W; ++i) x[i] = first + i == label_ ? -infinity<A>() : all[i];
  }
  __device__ static bool logit(A x) { return finite(x) || x == -infinity<A>(); }
  __device__ static A odds(A target, const Softmax<T>& rest) {
    return static_cast<A>((static_cast<double>(target - rest.top) * rest.slope - log2_of(rest.sum)) * kLn2);
  }

  int64_t label_;
  A factor_;
  bool known_, alone_ = false;
  A at_target_ = 0, scale_q_ = 0, scale_p_ = 0;
  SoftmaxPair<T> pair_;
};

}  // namespace kdbench::cuda
