// Rows of few classes, for the plain kl and hinton: as many rows at a time as a vector has lanes, one row to a lane. No
// fold across lanes, no half-empty vectors.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A>
constexpr int64_t short_classes = 2 * width<A>;

template <class A>
inline bool serves_short_rows(const Problem& problem) {
  return problem.classes <= short_classes<A> && (problem.loss == Loss::kl || problem.loss == Loss::hinton) &&
         problem.teacher_is == TeacherIs::logits && !problem.standardize && !problem.row_temperature &&
         !problem.row_scale && !problem.ce_row_scale && problem.label_smoothing == 0 && !problem.class_weight &&
         problem.scale != 0 && problem.ce_scale != 0;
}

#if defined(__AVX512F__)
// The distances of a column's elements from each other, in elements.
inline __m512i strides(int64_t classes) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_mullo_epi32(lane, _mm512_set1_epi32(int(classes)));
}
#endif

template <class A>
KDBENCH_INLINE void gather(const A* rows, int64_t classes, V<A>* columns) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<A, float>) {
    const __m512i at = strides(classes);
    for (int64_t c = 0; c < classes; ++c) columns[c] = bit_cast<V<A>>(_mm512_i32gather_ps(at, rows + c, 4));
    return;
  }
#endif
  for (int64_t c = 0; c < classes; ++c) {
    for (int lane = 0; lane < width<A>; ++lane) columns[c][lane] = rows[lane * classes + c];
  }
}

template <class A>
KDBENCH_INLINE void scatter(const V<A>* columns, int64_t classes, A* rows) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<A, float>) {
    const __m512i at = strides(classes);
    for (int64_t c = 0; c < classes; ++c) _mm512_i32scatter_ps(rows + c, at, bit_cast<__m512>(columns[c]), 4);
    return;
  }
#endif
  for (int64_t c = 0; c < classes; ++c) {
    for (int lane = 0; lane < width<A>; ++lane) rows[lane * classes + c] = columns[c][lane];
  }
}

template <class A>
KDBENCH_INLINE V<A> column_maximum(const V<A>* columns, int64_t classes) {
  V<A> largest = columns[0];
  for (int64_t c = 1; c < classes; ++c) largest = larger<A>(largest, columns[c]);
  return largest == -infinity<A> ? V<A>{} : largest;
}

// width<A> rows from r on.
template <Plain plain, class A>
KDBENCH_INLINE void short_rows(const Problem& problem, int64_t r, Pending& pending) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const int64_t classes = problem.classes, at = r * classes;
  const A rate = A(log2_e / problem.temperature);
  const A plain_rate = is_power(plain) ? rate * A(int(plain)) : A(log2_e);
  V<A> s[short_classes<A>], t[short_classes<A>], e[short_classes<A>], f[short_classes<A>], p[short_classes<A>];
  gather<A>(static_cast<const A*>(problem.student) + at, classes, s);
  gather<A>(static_cast<const A*>(problem.teacher) + at, classes, t);
  const V<A> s0 = column_maximum<A>(s, classes), t0 = column_maximum<A>(t, classes);
  V<A> student_sum{}, teacher_sum{}, plain_sum{}, cross{};
  for (int64_t c = 0; c < classes; ++c) {
    const V<A> x = (s[c] - s0) * rate, y = (t[c] - t0) * rate;
    e[c] = exp2_of_negative<A>(x);
    f[c] = exp2_of_negative<A>(y);
    student_sum += e[c];
    teacher_sum += f[c];
    cross = add_product<A>(cross, f[c], y - x);
    if constexpr (is_power(plain)) p[c] = raised<plain>(e[c]);
    if constexpr (plain == Plain::exponentials) p[c] = exp2_of_negative<A>((s[c] - s0) * plain_rate);
    if constexpr (plain != Plain::none) plain_sum += p[c];
  }
  // One value a lane, in loops that the compiler turns into vectors.
  A sums[3][width<A>], crossed[width<A>];
  store<A>(sums[0], student_sum);
  store<A>(sums[1], teacher_sum);
  store<A>(sums[2], plain_sum);
  store<A>(crossed, cross);
  const bool hinton = plain != Plain::none;
  const double of_kd = problem.scale / problem.temperature * (hinton ? problem.alpha : 1);
  const double of_ce = (1 - problem.alpha) * problem.ce_scale;
  double linear[width<A>], ratio[width<A>];
  for (int lane = 0; lane < width<A>; ++lane) {
    linear[lane] = ln_2 * (double(crossed[lane]) / double(sums[1][lane]));
    ratio[lane] = double(sums[0][lane]) / double(sums[1][lane]);
  }
  V<A> of_student = splat(A(of_kd)) / student_sum, of_teacher = splat(A(of_kd)) / teacher_sum;
  V<A> of_plain{}, of_label{};
  if constexpr (hinton) {
    of_plain = splat(A(of_ce)) / plain_sum;
    of_label = splat(A(of_ce));
  }
  for (int lane = 0; lane < width<A>; ++lane) {
    Term kd{problem.scale, linear[lane], ratio[lane]};
    if (!(sums[0][lane] > 0 && sums[1][lane] > 0)) kd.linear = nan;
    if constexpr (hinton) {
      const int64_t label = problem.labels[r + lane];
      Term ce{problem.ce_scale, nan, 1};
      if (label == problem.ignore_index) {
        ce = kd = Term{};
      } else if (label < 0 || label >= classes || kd.linear != kd.linear) {
        kd.linear = nan;  // a row is NaN as a whole
        of_student[lane] = A(nan);
      } else {
        ce.linear = -ln_2 * ((double(s[label][lane]) - s0[lane]) * plain_rate);
        ce.ratio = sums[2][lane];
      }
      pending.add(2 * (r + lane), ce);
      pending.add(2 * (r + lane) + 1, kd);
    } else {
      pending.add(r + lane, kd);
    }
  }
  if (!problem.grad) return;
  A* const grad = static_cast<A*>(problem.grad) + at;
  for (int64_t c = 0; c < classes; ++c) {
    e[c] = e[c] * of_student - f[c] * of_teacher;
    if constexpr (plain != Plain::none) e[c] += p[c] * of_plain;
  }
  if constexpr (plain != Plain::none) {
    for (int lane = 0; lane < width<A>; ++lane) {
      const int64_t label = problem.labels[r + lane];
      if (label == problem.ignore_index) {
        for (int64_t c = 0; c < classes; ++c) e[c][lane] = 0;  // whatever the row holds
      } else if (label >= 0 && label < classes) {
        e[label][lane] -= of_label[lane];
      }
    }
  }
  scatter<A>(e, classes, grad);
}

template <Plain plain, class A>
int64_t run_short_rows(const Problem& problem, int64_t begin, int64_t end) {
  Pending pending(problem);
  int64_t r = begin;
  for (; r + width<A> <= end; r += width<A>) short_rows<plain, A>(problem, r, pending);
  pending.flush();
  return r;
}

// Whole vectors of rows from `begin` on; the first row that is left.
template <class A>
int64_t run_short_rows(const Problem& problem, int64_t begin, int64_t end) {
  if (problem.loss == Loss::kl) return run_short_rows<Plain::none, A>(problem, begin, end);
  switch (plain_for(problem.temperature)) {
    case Plain::first: return run_short_rows<Plain::first, A>(problem, begin, end);
    case Plain::second: return run_short_rows<Plain::second, A>(problem, begin, end);
    case Plain::fourth: return run_short_rows<Plain::fourth, A>(problem, begin, end);
    default: return run_short_rows<Plain::exponentials, A>(problem, begin, end);
  }
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
