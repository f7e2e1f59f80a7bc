// Decoupled distillation: the softmaxes over the classes that are not the label, and the label against all of them.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

inline double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
inline double sigmoid(double x) { return x > 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

template <class A>
struct Dkd final : RowLoss<A> {
  using RowLoss<A>::RowLoss;

  bool counts(int64_t r) override {
    label = this->problem.labels[r];
    return this->open_row(r) && label != this->problem.ignore_index;
  }

  void open(int64_t, const A* s, const A* t) override {
    this->row.student = s;
    this->row.teacher = t;
    this->row.excluded = label;
  }

  void first(Span span, int64_t b) override {
    auto& scratch = this->scratch;
    exponentials<Side::logits, true, false, true>(this->row, span, this->blocks, b, scratch[0], scratch[1],
                                                  scratch[2]);
  }

  void close(Term* losses) override {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const Problem& problem = this->problem;
    const PairSums sums = kdbench::KDBENCH_ISA_NAMESPACE::close<false>(this->blocks, this->count);
    Term &target = losses[0], &others = losses[1];
    target.factor = others.factor = this->factor;
    this->changed.clear();
    const bool known = label >= 0 && label < problem.classes;
    const double x = known ? double(this->row.student[label]) * double(this->row.student_rate) : nan;
    const double y = known ? double(this->row.teacher[label]) * double(this->row.teacher_rate) : nan;
    if (!(x < infinity<double> && y < infinity<double>)) {
      target.linear = others.linear = of_student = of_teacher = nan;
      return;
    }
    const double a = this->factor / this->temperature;
    of_student = of_teacher = 0;
    if (sums.student_sum == 0 && sums.teacher_sum == 0 && std::isfinite(x) && std::isfinite(y)) {
      this->changed.push_back({label, 0});  // the label is the only class
      return;
    }
    // Log-odds of the label against the others, in nats: nothing cancels where the label dominates.
    const double u = ln_2 * (x - sums.student_reference) - std::log(sums.student_sum);
    const double v = ln_2 * (y - sums.teacher_reference) - std::log(sums.teacher_sum);
    const double q = sigmoid(u), p = sigmoid(v), not_p = sigmoid(-v);
    target.linear = (p == 0 ? 0 : p * (softplus(-u) - softplus(-v))) +
                    (not_p == 0 ? 0 : not_p * (softplus(u) - softplus(v)));
    // q - p from whichever side of 1/2 keeps its digits.
    const double difference = u > 0 && v > 0 ? not_p - sigmoid(-u) : q - p;
    double beta = problem.beta;
    if (sums.teacher_sum == 0 && std::isfinite(y)) {
      beta = 0;  // all of the teacher's others have p = 0
    } else {
      others.linear = ln_2 * (sums.cross / sums.teacher_sum);
      others.ratio = sums.student_sum / sums.teacher_sum;
      of_teacher = a * beta / sums.teacher_sum;
      if (!(sums.teacher_sum > 0)) others.linear = nan;
    }
    if (!(sums.student_sum > 0)) others.linear = nan;
    of_student = a * (beta - problem.alpha * difference) / sums.student_sum;
    if (std::isnan(target.linear) || std::isnan(others.linear)) {
      // A row is NaN as a whole.
      target.linear = others.linear = of_student = of_teacher = nan;
      return;
    }
    this->changed.push_back({label, a * problem.alpha * difference});
  }

  void second(Span span, int64_t b, A* g, bool streaming) override {
    const A *e = this->scratch[0], *f = this->scratch[1];
    const V<A> student_part = splat(A(of_student * this->blocks.student[b]));
    const V<A> teacher_part = splat(A(of_teacher * this->blocks.teacher[b]));
    write<A>(span, g, streaming, [&](int64_t i) KDBENCH_LAMBDA_INLINE {
      return load<A>(e + i) * student_part - load<A>(f + i) * teacher_part;
    });
  }

 private:
  int64_t label = 0;
  double of_student = 0, of_teacher = 0;
};

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
