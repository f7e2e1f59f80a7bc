// (1 - alpha) cross-entropy with labels at T = 1 + alpha KL at T, in one pass over the logits.
#pragma once

#include "kl.cuh"

namespace kdbench::cuda {

template <class T, bool Standardize>
struct Hinton : LossBase<T, 2> {
  using Base = LossBase<T, 2>;
  using A = Acc<T>;
  static constexpr int W = Base::W;
  // A third exponential, labels and weights: 80 registers, and 96 with 8 elements at a time.
  static constexpr int kBlockThreads = sizeof(T) == 8 ? 256 : Standardize ? 512 : sizeof(T) == 4 ? 768 : 640;

  __device__ Hinton(const Problem& problem, int64_t index)
      : label_(problem.labels[index]),
        classes_(static_cast<int>(problem.classes)),
        weight_(static_cast<const A*>(problem.class_weight)),
        alpha_(static_cast<A>(problem.alpha)),
        smoothing_(static_cast<A>(problem.label_smoothing)),
        factor_(per_row<A>(problem.row_scale, index, problem.scale)),
        ce_factor_(per_row<A>(problem.ce_row_scale, index, problem.ce_scale)) {
    this->counts = label_ != problem.ignore_index && (factor_ != A(0) || ce_factor_ != A(0)) && classes_ > 0;
    known_ = label_ >= 0 && label_ < problem.classes;
  }

  template <class R, class G>
  __device__ void measure(const Problem& problem, int64_t index, R& row, G& group, uint32_t*) {
    // The label's logit is read before any gradient may take its place: reductions come between.
    const A labelled = this->counts && known_ ? row.student_at(static_cast<int>(label_)) : A(0);
    term_.begin(problem, index, alpha_ * factor_, row, group, row.first_student(), row.first_teacher());
    A sum = 0, weights = 0, weighted = 0;  // Σ e^s; Σ w, Σ w s
    row.each([&](int first, const Lanes<T>& s, const Lanes<T>& t) {
      const A top = term_.pair.student.top;
      term_.add(s, t);
      if (term_.pair.student.top != top) sum *= exp2_of((top - term_.pair.student.top) * A(kLog2E));
#pragma unroll
      for (int i = 0; i < W; ++i) sum += power(s[i]);
      if (smoothing_ != A(0)) {
#pragma unroll
        for (int i = 0; i < W; ++i) {
          const A w = weight_at(first + i);
          weights += w;
          weighted += w == A(0) ? A(0) : w * (s[i] - term_.pivot_s);
        }
      }
    });
    const A top = term_.pair.student.top;
    const A kl = term_.reduce(row, group);
    A sums[3] = {sum * exp2_of((top - term_.pair.student.top) * A(kLog2E)), weights, weighted};
    group.template reduce<Add>(sums);

    const A pivot = term_.pivot_s;
    const A lse = static_cast<A>(log2_of(sums[0]) * kLn2 + static_cast<double>(term_.pair.student.top - pivot));
    const A label_weight = (A(1) - smoothing_) * (known_ ? weight_at(static_cast<int>(label_)) : A(0));
    const A spread = quotient(smoothing_, static_cast<A>(classes_));
    A ce = label_weight == A(0) ? A(0) : label_weight * (lse - (labelled - pivot));
    if (smoothing_ != A(0)) ce += spread * (lse * sums[1] - sums[2]);
    this->terms[0] = ce_factor_ == A(0) ? A(0) : ce_factor_ * ce;
    this->terms[1] = factor_ == A(0) ? A(0) : factor_ * kl;
    this->numbers = known_ && term_.numbers();

    const A step = (A(1) - alpha_) * ce_factor_;
    scale_ = quotient(step * (label_weight + spread * sums[1]), sums[0]);
    at_label_ = step * label_weight;
    elsewhere_ = step * spread;
  }

  __device__ unsigned gradient(int first, const Lanes<T>& s, const Lanes<T>& t, Lanes<T>& g) const {
    term_.gradient(s, t, g);
#pragma unroll
    for (int i = 0; i < W; ++i) g[i] += power(s[i]) * scale_;
    if (smoothing_ != A(0)) {
#pragma unroll
      for (int i = 0; i < W; ++i) g[i] -= elsewhere_ * weight_at(first + i);
    }
    if (label_ >= first && label_ < first + W) {
#pragma unroll
      for (int i = 0; i < W; ++i) {
        if (first + i == label_) g[i] -= at_label_;
      }
    }
    return Base::kWhole;
  }

 private:
  __device__ A power(A x) const { return exp2_of((x - term_.pair.student.top) * A(kLog2E)); }
  __device__ A weight_at(int i) const {
    if (i < 0 || i >= classes_) return A(0);
    return weight_ == nullptr ? A(1) : weight_[i];
  }

  int64_t label_;
  int classes_;
  bool known_;
  const A* weight_;
  A alpha_, smoothing_, factor_, ce_factor_;
  A scale_ = 0, at_label_ = 0, elsewhere_ = 0;
  KlTerm<T, Standardize> term_;
};

template <class T>
using HintonOfLogits = Hinton<T, false>;
template <class T>
using HintonOfScores = Hinton<T, true>;

}  // namespace kdbench::cuda
