// kl and hinton: a * (q - p), and for hinton the cross-entropy at T = 1 in the same pass.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

// Mean and population deviation of a row, in float64.
struct Moments {
  double mean = 0, deviation = 0;
};

template <class A>
inline Moments moments(const A* values, int64_t count) {
  if (count < width<A>) {
    double total = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) total += double(values[i]);
    const double mean = total / count;
    for (int64_t i = 0; i < count; ++i) squares += (double(values[i]) - mean) * (double(values[i]) - mean);
    return {mean, std::sqrt(squares / count)};
  }
  double total = 0, squares = 0, errors = 0;
  const int64_t blocks = block_count(count);
  for (int64_t b = 0; b < blocks; ++b) {
    const Span span = block_span(b, blocks, count);
    V<A> sums{};
    for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A> mask, auto is_partial) {
      sums += masked<A>(mask, load<A>(values + i), is_partial);
    });
    total += sum<A>(sums);
  }
  const V<A> mean = splat(A(total / count));
  for (int64_t b = 0; b < blocks; ++b) {
    const Span span = block_span(b, blocks, count);
    V<A> sums{}, squared{};
    for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A> mask, auto is_partial) {
      const V<A> d = masked<A>(mask, load<A>(values + i) - mean, is_partial);
      sums += d;
      squared += d * d;
    });
    errors += sum<A>(sums);  // of the rounded mean
    squares += sum<A>(squared);
  }
  const double error = errors / count;
  return {double(mean[0]) + error, std::sqrt(std::max(0.0, squares / count - error * error))};
}

template <class A, Side side, bool plain, bool standardize>
struct Kl final : RowLoss<A> {
  using RowLoss<A>::RowLoss;
  static constexpr double epsilon = 1e-7;  // beside the deviation, so that a constant row stays finite

  bool counts(int64_t r) override {
    const bool counts = this->open_row(r);
    if constexpr (plain) {
      label = this->problem.labels[r];
      ce_factor = this->problem.ce_scale * this->value(this->problem.ce_row_scale, r, 1);
      return label != this->problem.ignore_index && (counts || ce_factor != 0);
    }
    return counts;
  }

  void open(int64_t, const A* s, const A* t) override {
    this->row.student = s;
    this->row.teacher = t;
    if constexpr (standardize) {
      student = moments(s, this->problem.classes);
      const Moments teacher = moments(t, this->problem.classes);
      this->row.student_rate = standardized_rate(student);
      this->row.teacher_rate = standardized_rate(teacher);
    }
  }

  void first(Span span, int64_t b) override {
    auto& scratch = this->scratch;
    exponentials<side, true, plain, false>(this->row, span, this->blocks, b, scratch[0], scratch[1], scratch[2]);
  }

  void close(Term* losses) override {
    const Problem& problem = this->problem;
    const PairSums sums = kdbench::KDBENCH_ISA_NAMESPACE::close<plain>(this->blocks, this->count);
    Term& kd = losses[plain ? 1 : 0];
    kd.factor = this->factor;
    double a = this->factor / this->temperature;
    if constexpr (plain) a *= problem.alpha;
    if constexpr (side == Side::logits) {
      kd.linear = ln_2 * (sums.cross / sums.teacher_sum);
      kd.ratio = sums.student_sum / sums.teacher_sum;
      of_student = a / sums.student_sum;
      of_teacher = a / sums.teacher_sum;
      if (!(sums.teacher_sum > 0)) kd.linear = nan;
    } else {
      kd.linear = ln_2 * sums.cross + sums.teacher_sum * std::log(sums.student_sum);
      of_student = a * sums.teacher_sum / sums.student_sum;
      of_teacher = a;
    }
    if (!(sums.student_sum > 0)) kd.linear = nan;
    if constexpr (standardize) close_standardized();
    if constexpr (plain) close_cross_entropy(sums, losses[0], kd);
  }

  void second(Span span, int64_t b, A* g, bool streaming) override {
    const A *e = this->scratch[0], *f = this->scratch[1], *c = this->scratch[2], *d = this->scratch[3];
    const V<A> student_part = splat(A(of_student * this->blocks.student[b]));
    const V<A> teacher_part = splat(A(of_teacher * this->blocks.teacher[b]));
    const V<A> plain_part = splat(A(of_plain * (plain ? this->blocks.plain[b] : 0)));
    const V<A> deviation_part = splat(A(of_deviation)), smooth = splat(A(smoothed));
    const A* weights = static_cast<const A*>(this->problem.class_weight);
    const auto value = [&](int64_t i) KDBENCH_LAMBDA_INLINE {
      V<A> sum = load<A>(e + i) * student_part - load<A>(f + i) * teacher_part;
      if constexpr (standardize) sum -= load<A>(d + i) * deviation_part;
      if constexpr (plain) sum += load<A>(c + i) * plain_part;
      return sum;
    };
    if (plain && smoothed != 0) {
      write<A>(span, g, streaming, [&](int64_t i) KDBENCH_LAMBDA_INLINE {
        return value(i) - (weights ? smooth * this->weight_vector(weights, i) : smooth);
      });
    } else {
      write<A>(span, g, streaming, value);
    }
  }

  V<A> weight_vector(const A* weights, int64_t i) const {
    if (this->problem.classes >= width<A>) return load<A>(weights + i);
    A padded[width<A>] = {};
    std::memcpy(padded, weights, this->problem.classes * sizeof(A));
    return load<A>(padded);
  }

 private:
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

  // A constant row is 0 everywhere; at the rate of a deviation of 1e-7 its rounding would be all that is left. Not a
  // rate of 0, which would make a short row's padding NaN.
  A standardized_rate(const Moments& of) const {
    return of.deviation == 0 ? std::numeric_limits<A>::min() : A(log2_e / (this->temperature * (of.deviation + epsilon)));
  }

  // Through mean and deviation: g/(d+eps) - (s - mean) * sum(g (s - mean)) / (n d (d+eps)^2), with sum(g) = 0.
  void close_standardized() {
    const double divisor = student.deviation + epsilon;
    const V<A> mean = splat(A(student.mean));
    double dot = 0;
    for (int64_t b = 0; b < this->count; ++b) {
      const Span span = block_span(b, this->count, this->classes);
      const V<A> student_part = splat(A(of_student * this->blocks.student[b]));
      const V<A> teacher_part = splat(A(of_teacher * this->blocks.teacher[b]));
      V<A> total{};
      for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A> mask, auto is_partial) {
        const V<A> distance = load<A>(this->row.student + i) - mean;
        store<A>(this->scratch[3] + i, distance);
        const V<A> g = load<A>(this->scratch[0] + i) * student_part - load<A>(this->scratch[1] + i) * teacher_part;
        // Beside a short row's classes stand -inf: their g is 0.
        total = add_product<A>(total, masked<A>(mask, g, is_partial), distance);
      });
      dot += sum<A>(total);
    }
    of_student /= divisor;
    of_teacher /= divisor;
    of_deviation =
        student.deviation == 0 ? 0 : dot / (this->problem.classes * student.deviation * divisor * divisor);
  }

  void close_cross_entropy(const PairSums& sums, Term& ce, Term& kd) {
    const Problem& problem = this->problem;
    const double epsilon_share = problem.label_smoothing / problem.classes;
    ce.factor = ce_factor;
    this->changed.clear();
    if (label < 0 || label >= problem.classes || kd.linear != kd.linear) {
      // A row is NaN as a whole.
      ce.linear = kd.linear = nan;
      of_student = of_teacher = of_plain = nan;
      smoothed = 0;
      return;
    }
    const auto exponent = [&](int64_t at) {
      return double(this->row.student[at]) * double(A(log2_e)) - sums.plain_reference;
    };
    const A* weights = static_cast<const A*>(problem.class_weight);
    const double of_label = (1 - problem.label_smoothing) * (weights ? double(weights[label]) : 1);
    double weight = of_label, weighted = of_label * exponent(label);
    if (epsilon_share != 0) {
      double all = 0, exponents = 0;
      for (int64_t i = 0; i < problem.classes; ++i) {
        const double w = weights ? double(weights[i]) : 1;
        all += w;
        if (w != 0) exponents += w * exponent(i);
      }
      weight += epsilon_share * all;
      weighted += epsilon_share * exponents;
    }
    ce.linear = -ln_2 * weighted;
    if (weight == 1) {
      ce.ratio = sums.plain_sum;
    } else {
      ce.linear += weight * std::log(sums.plain_sum);
    }
    const double a = (1 - problem.alpha) * ce_factor;
    of_plain = a * weight / sums.plain_sum;
    smoothed = a * epsilon_share;
    double at_label = this->scratch[0][label] * (of_student * this->student_factor(label)) -
                      this->scratch[1][label] * (of_teacher * this->teacher_factor(label)) +
                      this->scratch[2][label] * (of_plain * this->blocks.plain[this->block_of(label)]) -
                      smoothed * (weights ? double(weights[label]) : 1) - a * of_label;
    if constexpr (standardize) at_label -= this->scratch[3][label] * of_deviation;
    this->changed.push_back({label, at_label});
  }

  int64_t label = 0;
  double ce_factor = 0;
  Moments student;
  double of_student = 0, of_teacher = 0, of_plain = 0, of_deviation = 0, smoothed = 0;
};

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
