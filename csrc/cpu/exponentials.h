// The first pass over a row: exponentials of student and teacher into scratch memory, sums by block.
#pragma once

#include "softmax_pair.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

// What the teacher's side of a row is; `none` where a loss reads no full row of it.
enum class Side { logits, log_probs, probs, none };

// A row as the first pass reads it. `rate` is log2(e) / T, so that x = (s - max) * rate is the exponent of 2.
template <class A>
struct Row {
  const A* student;
  const A* teacher;
  int64_t classes;
  A student_rate, teacher_rate;
  int64_t excluded = -1;  // a class left out of both softmaxes
};

template <class A>
KDBENCH_INLINE I<A> iota() {
  I<A> lane{};
  for (int i = 0; i < width<A>; ++i) lane[i] = i;
  return lane;
}

template <class A, bool exclude>
KDBENCH_INLINE V<A> without(V<A> value, int64_t offset, int64_t excluded) {
  if constexpr (exclude) {
    const int64_t lane = excluded - offset;
    const auto at = lane < 0 || lane >= width<A> ? -1 : int(lane);
    return iota<A>() == at ? splat(-infinity<A>) : value;
  } else {
    return value;
  }
}

// One block: fill e (student) and f (teacher), and c with exp(s - max) at T = 1 where `plain`. `cross` is summed where asked for.
//
// `ahead`: while a block is computed, the next one is fetched, since computing leaves the memory idle.
template <Side side, bool cross, bool plain, bool exclude, class A>
KDBENCH_INLINE void exponentials(const Row<A>& row, Span span, Blocks& blocks, int64_t b, A* e, A* f, A* c) {
  using Vec = V<A>;
  constexpr int64_t ahead = block_elements;
  Vec student_max = splat(-infinity<A>), teacher_max = student_max;
  for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A>, auto) {
    student_max = larger<A>(student_max, without<A, exclude>(load<A>(row.student + i), i, row.excluded));
    if constexpr (side == Side::logits) {
      teacher_max = larger<A>(teacher_max, without<A, exclude>(load<A>(row.teacher + i), i, row.excluded));
    }
  });
  const A student_top = maximum<A>(student_max), teacher_top = maximum<A>(teacher_max);
  const auto finite = [](A top) { return splat(top == -infinity<A> ? A(0) : top); };
  const Vec s0 = finite(student_top), t0 = finite(teacher_top);
  const Vec student_rate = splat(row.student_rate), teacher_rate = splat(row.teacher_rate);
  Vec student_sum{}, teacher_sum{}, crossed{}, plain_sum{};
  for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A> mask, auto is_partial) {
    if constexpr (!is_partial.value) {
      __builtin_prefetch(row.student + i + ahead);
      if constexpr (side != Side::none) __builtin_prefetch(row.teacher + i + ahead);
    }
    // The difference first: exactly 0 at the maximum, and rounded relative to the distance from it.
    const Vec s = without<A, exclude>(load<A>(row.student + i), i, row.excluded) - s0;
    const Vec x = s * student_rate, ex = exp2_of_negative<A>(x);
    store<A>(e + i, ex);
    student_sum += masked<A>(mask, ex, is_partial);
    if constexpr (plain) {
      const Vec p = exp2_of_negative<A>(s * A(log2_e));
      store<A>(c + i, p);
      plain_sum += masked<A>(mask, p, is_partial);
    }
    if constexpr (side != Side::none) {
      const Vec t = without<A, exclude>(load<A>(row.teacher + i), i, row.excluded);
      Vec y, fy;
      if constexpr (side == Side::probs) {
        fy = t;
        y = log_of_positive<A>(t) * A(log2_e);
      } else {
        y = side == Side::logits ? (t - t0) * teacher_rate : t * A(log2_e);
        fy = exp2_of_negative<A>(y);
      }
      store<A>(f + i, fy);
      fy = masked<A>(mask, fy, is_partial);
      teacher_sum += fy;
      if constexpr (cross) crossed = add_product<A>(crossed, fy, y - x);
    }
  });
  blocks.student[b] = double(student_top) * row.student_rate;
  blocks.student_sum[b] = sum<A>(student_sum);
  if constexpr (side != Side::none) {
    blocks.teacher[b] = side == Side::logits ? double(teacher_top) * row.teacher_rate : 0;
    blocks.teacher_sum[b] = sum<A>(teacher_sum);
  }
  if constexpr (cross) blocks.cross[b] = sum<A>(crossed);
  if constexpr (plain) {
    blocks.plain[b] = double(student_top) * A(log2_e);
    blocks.plain_sum[b] = sum<A>(plain_sum);
  }
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
