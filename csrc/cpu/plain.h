// What the row walks of plain problems share: kl and hinton with one temperature and one factor for all rows.
//
// These are most calls in training, and at few classes the driver's own work for a row takes longer than the row does.
// The walks in short_rows.h and whole_rows.h leave the sums of as many rows as a vector has lanes to be finished
// at once.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

inline bool is_plain(const Problem& problem) {
  return (problem.loss == Loss::kl || problem.loss == Loss::hinton) && problem.teacher_is == TeacherIs::logits &&
         !problem.standardize && !problem.row_temperature && !problem.row_scale && !problem.ce_row_scale &&
         problem.label_smoothing == 0 && !problem.class_weight && problem.scale != 0 && problem.ce_scale != 0;
}

// What the losses of width<A> rows need, a row in each lane: sums of exp(s), exp(t), exp(t) * (y - x) and of exp(s) at
// T = 1, relative to the rows' maxima; exponents are those of 2.
template <class A>
struct Sums {
  A student[width<A>], teacher[width<A>], cross[width<A>], plain[width<A>];
  double label[width<A>];  // the label's exponent at T = 1; NaN where the row has no such class
};

// Factors of the gradient, alike for all rows.
struct PlainFactors {
  explicit PlainFactors(const Problem& problem)
      : of_kd(problem.scale / problem.temperature * (problem.loss == Loss::hinton ? problem.alpha : 1)),
        of_ce(problem.loss == Loss::hinton ? (1 - problem.alpha) * problem.ce_scale : 0) {}
  const double of_kd, of_ce;
};

inline bool has_label(const Problem& problem, int64_t r) {
  return problem.labels[r] >= 0 && problem.labels[r] < problem.classes;
}

// Losses of `count` rows from r on. A row is NaN as a whole.
template <class A, bool hinton>
inline void finish(const Problem& problem, int64_t r, int count, const Sums<A>& sums) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr int w = width<A>;
  double kd[w], ratio[w], plain[w];
  for (int i = 0; i < w; ++i) {
    const double student = sums.student[i], teacher = sums.teacher[i];
    kd[i] = student > 0 && teacher > 0 ? ln_2 * (double(sums.cross[i]) / teacher) : nan;
    ratio[i] = student / teacher;
    if constexpr (hinton) plain[i] = sums.plain[i];
  }
  for (int i = 0; i < w; i += width<double>) {
    store<double>(kd + i, (load<double>(kd + i) + log_of_positive<double>(load<double>(ratio + i))) * problem.scale);
    if constexpr (hinton) {
      const V<double> logs = log_of_positive<double>(load<double>(plain + i));
      store<double>(plain + i, (logs - load<double>(sums.label + i) * ln_2) * problem.ce_scale);
    }
  }
  A* losses = static_cast<A*>(problem.row_losses) + (hinton ? 2 * r : r);
  for (int i = 0; i < count; ++i) {
    if constexpr (!hinton) {
      losses[i] = A(kd[i]);
    } else if (problem.labels[r + i] == problem.ignore_index) {
      losses[2 * i] = losses[2 * i + 1] = 0;
    } else {
      const bool bad = kd[i] != kd[i] || plain[i] != plain[i];
      losses[2 * i] = A(bad ? nan : plain[i]);
      losses[2 * i + 1] = A(bad ? nan : kd[i]);
    }
  }
}

// Call with the constant of how a problem's softmax at T = 1 is got.
template <class Body>
auto with_plain(const Problem& problem, Body body) {
  if (problem.loss == Loss::kl) return body(std::integral_constant<Plain, Plain::none>{});
  switch (plain_for(problem.temperature)) {
    case Plain::first: return body(std::integral_constant<Plain, Plain::first>{});
    case Plain::second: return body(std::integral_constant<Plain, Plain::second>{});
    case Plain::fourth: return body(std::integral_constant<Plain, Plain::fourth>{});
    default: return body(std::integral_constant<Plain, Plain::exponentials>{});
  }
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
