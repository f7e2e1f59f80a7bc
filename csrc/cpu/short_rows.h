// Rows of few classes, for the plain kl and hinton: as many rows at a time as a vector has lanes, one row to a lane. No
// fold across lanes, no half-empty vectors.
#pragma once

#include "plain.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A>
constexpr int64_t short_classes = 2 * width<A>;

template <class A>
inline bool serves_short_rows(const Problem& problem) {
  return problem.classes <= short_classes<A> && is_plain(problem);
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
KDBENCH_INLINE void short_rows(const Problem& problem, int64_t r) {
  constexpr A nan = std::numeric_limits<A>::quiet_NaN();
  constexpr bool hinton = plain != Plain::none;
  const PlainFactors factors(problem);
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
    if constexpr (hinton) plain_sum += p[c];
  }
  Sums<A> sums;
  store<A>(sums.student, student_sum);
  store<A>(sums.teacher, teacher_sum);
  store<A>(sums.cross, cross);
  store<A>(sums.plain, plain_sum);
  V<A> of_student = splat(A(factors.of_kd)) / student_sum;
  const V<A> of_teacher = splat(A(factors.of_kd)) / teacher_sum;
  if constexpr (hinton) {
    for (int lane = 0; lane < width<A>; ++lane) {
      const bool labelled = has_label(problem, r + lane);
      const int64_t label = problem.labels[r + lane];
      sums.label[lane] = labelled ? (double(s[label][lane]) - s0[lane]) * plain_rate : nan;
      // A row is NaN as a whole.
      if (!labelled || !(sums.student[lane] > 0 && sums.teacher[lane] > 0)) of_student[lane] = nan;
    }
  }
  finish<A, hinton>(problem, r, width<A>, sums);
  if (!problem.grad) return;
  const V<A> of_plain = splat(A(factors.of_ce)) / plain_sum;
  for (int64_t c = 0; c < classes; ++c) {
    e[c] = e[c] * of_student - f[c] * of_teacher;
    if constexpr (hinton) e[c] += p[c] * of_plain;
  }
  if constexpr (hinton) {
    for (int lane = 0; lane < width<A>; ++lane) {
      const int64_t label = problem.labels[r + lane];
      if (label == problem.ignore_index) {
        for (int64_t c = 0; c < classes; ++c) e[c][lane] = 0;  // whatever the row holds
      } else if (has_label(problem, r + lane)) {
        e[label][lane] -= A(factors.of_ce);
      }
    }
  }
  scatter<A>(e, classes, static_cast<A*>(problem.grad) + at);
}

// Whole vectors of rows from `begin` on; the first row that is left.
template <Plain plain, class A>
int64_t run_short_rows(const Problem& problem, int64_t begin, int64_t end) {
  int64_t r = begin;
  for (; r + width<A> <= end; r += width<A>) short_rows<plain, A>(problem, r);
  return r;
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
