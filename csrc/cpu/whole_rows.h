// Plain kl and hinton in rows of one block: a row at a time, whole, in scratch memory that stays in the first-level
// cache.
#pragma once

#include "plain.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A>
inline bool serves_whole_rows(const Problem& problem) {
  return problem.classes >= width<A> && block_count(problem.classes) == 1 && is_plain(problem);
}

template <Plain plain, class A>
void run_whole_rows(const Problem& problem, int64_t begin, int64_t end) {
  constexpr bool hinton = plain != Plain::none;
  constexpr int w = width<A>;
  alignas(64) A e[2 * block_elements], f[2 * block_elements], p[plain == Plain::exponentials ? 2 * block_elements : w];
  const PlainFactors factors(problem);
  const int64_t classes = problem.classes;
  const A kd_rate = A(log2_e / problem.temperature);
  const A plain_rate = is_power(plain) ? kd_rate * A(int(plain)) : A(log2_e);
  const A of_kd = A(factors.of_kd), of_ce = A(factors.of_ce);
  const A* student = static_cast<const A*>(problem.student) + begin * classes;
  const A* teacher = static_cast<const A*>(problem.teacher) + begin * classes;
  A* grad = problem.grad ? static_cast<A*>(problem.grad) + begin * classes : nullptr;
  Sums<A> sums{};
  for (int64_t r = begin; r < end; ++r, student += classes, teacher += classes) {
    V<A> student_max = splat(-infinity<A>), teacher_max = student_max;
    for_vectors<A>(0, classes, [&](int64_t i, I<A>, auto) KDBENCH_LAMBDA_INLINE {
      student_max = larger<A>(student_max, load<A>(student + i));
      teacher_max = larger<A>(teacher_max, load<A>(teacher + i));
    });
    const auto finite = [](A top) { return top == -infinity<A> ? A(0) : top; };
    const A s0 = finite(maximum<A>(student_max)), t0 = finite(maximum<A>(teacher_max));
    V<A> student_sum{}, teacher_sum{}, crossed{}, plain_sum{};
    for_vectors<A>(0, classes, [&](int64_t i, I<A> mask, auto is_partial) KDBENCH_LAMBDA_INLINE {
      // The next row: computing leaves the memory idle.
      __builtin_prefetch(student + classes + i);
      __builtin_prefetch(teacher + classes + i);
      const V<A> s = load<A>(student + i) - s0, x = s * kd_rate, y = (load<A>(teacher + i) - t0) * kd_rate;
      const V<A> ex = exp2_of_negative<A>(x), fy = exp2_of_negative<A>(y);
      store<A>(e + i, ex);
      store<A>(f + i, fy);
      const V<A> counted = masked<A>(mask, fy, is_partial);
      student_sum += masked<A>(mask, ex, is_partial);
      teacher_sum += counted;
      crossed = add_product<A>(crossed, counted, y - x);
      if constexpr (is_power(plain)) plain_sum += masked<A>(mask, raised<plain>(ex), is_partial);
      if constexpr (plain == Plain::exponentials) {
        const V<A> powers = exp2_of_negative<A>(s * plain_rate);
        store<A>(p + i, powers);
        plain_sum += masked<A>(mask, powers, is_partial);
      }
    });
    const int lane = int(r - begin) & (w - 1);
    const A sum_s = sum<A>(student_sum), sum_t = sum<A>(teacher_sum), sum_p = hinton ? sum<A>(plain_sum) : A(1);
    sums.student[lane] = sum_s;
    sums.teacher[lane] = sum_t;
    sums.cross[lane] = sum<A>(crossed);
    A of_student = of_kd / sum_s, of_plain = of_ce / sum_p;
    bool ignored = false, labelled = false;
    if constexpr (hinton) {
      labelled = has_label(problem, r);
      ignored = problem.labels[r] == problem.ignore_index;
      sums.plain[lane] = sum_p;
      sums.label[lane] = labelled ? (double(student[problem.labels[r]]) - s0) * plain_rate
                                  : std::numeric_limits<double>::quiet_NaN();
      // A row is NaN as a whole.
      if (!labelled || !(sum_s > 0 && sum_t > 0)) of_student = std::numeric_limits<A>::quiet_NaN();
    }
    if (grad) {
      const V<A> student_part = splat(of_student), teacher_part = splat(of_kd / sum_t), plain_part = splat(of_plain);
      if (ignored) {
        std::memset(grad, 0, classes * sizeof(A));
      } else {
        for_vectors<A>(0, classes, [&](int64_t i, I<A>, auto) KDBENCH_LAMBDA_INLINE {
          const V<A> ex = load<A>(e + i);
          V<A> g = ex * student_part - load<A>(f + i) * teacher_part;
          if constexpr (is_power(plain)) g += raised<plain>(ex) * plain_part;
          if constexpr (plain == Plain::exponentials) g += load<A>(p + i) * plain_part;
          store<A>(grad + i, g);
        });
        if (labelled) grad[problem.labels[r]] -= of_ce;
      }
      grad += classes;
    }
    if (lane == w - 1 || r + 1 == end) finish<A, hinton>(problem, r - lane, lane + 1, sums);
  }
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
