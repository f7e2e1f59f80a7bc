// Divergences f(p, q) that need both distributions normalised before their logarithms: with u = q * df/dq the gradient
// by the logits is (u - q * sum(u)) / T.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A>
struct DivergenceRow final : RowLoss<A> {
  using RowLoss<A>::RowLoss;

  void open(int64_t, const A* s, const A* t) override {
    this->row.student = s;
    this->row.teacher = t;
  }

  void first(Span span, int64_t b) override {
    auto& scratch = this->scratch;
    exponentials<Side::logits, false, false, false>(this->row, span, this->blocks, b, scratch[0], scratch[1],
                                                    scratch[2]);
  }

  void close(Term* losses) override {
    const PairSums sums = kdbench::KDBENCH_ISA_NAMESPACE::close<false>(this->blocks, this->count);
    Totals totals;
    switch (this->problem.divergence) {
      case Divergence::forward_kl: totals = normalize<Divergence::forward_kl>(sums); break;
      case Divergence::reverse_kl: totals = normalize<Divergence::reverse_kl>(sums); break;
      case Divergence::js: totals = normalize<Divergence::js>(sums); break;
      case Divergence::skew_kl: totals = normalize<Divergence::skew_kl>(sums); break;
      case Divergence::skew_reverse_kl: totals = normalize<Divergence::skew_reverse_kl>(sums); break;
      case Divergence::tvd: totals = normalize<Divergence::tvd>(sums); break;
    }
    losses[0] = {this->factor, totals.loss, 1};
    if (!(sums.student_sum > 0 && sums.teacher_sum > 0)) {
      losses[0].linear = totals.u = std::numeric_limits<double>::quiet_NaN();
    }
    of_u = this->factor / this->temperature;
    of_q = of_u * totals.u;
  }

  void second(Span span, int64_t, A* g, bool streaming) override {
    const A *u = this->scratch[0], *q = this->scratch[1];
    const V<A> u_part = splat(A(of_u)), q_part = splat(A(of_q));
    write<A>(span, g, streaming, [&](int64_t i) KDBENCH_LAMBDA_INLINE {
      return load<A>(u + i) * u_part - load<A>(q + i) * q_part;
    });
  }

 private:
  struct Totals {
    double loss = 0, u = 0;
  };

  // p and q from the exponentials; the loss, and u and q in their place.
  template <Divergence kind>
  Totals normalize(const PairSums& sums) {
    constexpr bool uses_logits = kind == Divergence::forward_kl || kind == Divergence::reverse_kl;
    const auto& row = this->row;
    A *e = this->scratch[0], *f = this->scratch[1];
    const A s0 = A(finite(sums.student_reference) / row.student_rate);
    const A t0 = A(finite(sums.teacher_reference) / row.teacher_rate);
    // ln(q / p) = ln2 * (x - y) + offset; the offset is added in double.
    const double offset = std::log(sums.teacher_sum / sums.student_sum);
    const A beta = A(this->problem.beta), rest = A(1 - this->problem.beta);
    Totals totals;
    for (int64_t b = 0; b < this->count; ++b) {
      const V<A> to_q = splat(A(this->blocks.student[b] / sums.student_sum));
      const V<A> to_p = splat(A(this->blocks.teacher[b] / sums.teacher_sum));
      V<A> loss{}, weight{}, total_u{};
      const Span span = block_span(b, this->count, this->classes);
      const auto visit = [&](int64_t i, I<A> mask, auto is_partial, V<A> q, V<A> p) KDBENCH_LAMBDA_INLINE {
        V<A> u;
        if constexpr (uses_logits) {
          // From the row's maxima, so that rounding is relative to the distance from them.
          const V<A> x = (load<A>(row.student + i) - s0) * row.student_rate;
          const V<A> y = (load<A>(row.teacher + i) - t0) * row.teacher_rate;
          const V<A> first = masked<A>(mask, kind == Divergence::forward_kl ? p : q, is_partial);
          const V<A> log_ratio = kind == Divergence::forward_kl ? y - x : x - y;
          loss = add_product<A>(loss, first, log_ratio);
          weight += first;
          if constexpr (kind == Divergence::forward_kl) {
            u = -p;
          } else {
            u = add_product<A>(V<A>{}, q, log_ratio * A(ln_2) + A(offset) + A(1));
          }
        } else if constexpr (kind == Divergence::tvd) {
          const V<A> difference = q - p;
          loss += masked<A>(mask, difference < A(0) ? -difference : difference, is_partial) * A(0.5);
          // By comparison: the difference may be rounded once, and then is not 0 where both are the same.
          u = q > p ? q * A(0.5) : (q < p ? q * A(-0.5) : q - q);
        } else {
          const bool toward_student = kind == Divergence::skew_reverse_kl;
          const V<A> m = toward_student ? rest * p + beta * q : beta * p + rest * q;
          const V<A> safe = m > A(0) ? m : splat(A(1));
          V<A> term{};
          u = V<A>{};
          if constexpr (kind != Divergence::skew_reverse_kl) {
            const V<A> of_p = times_log(p, safe);
            term += kind == Divergence::js ? beta * of_p : of_p;
            if constexpr (kind == Divergence::skew_kl) u -= rest * p * q / safe;
          }
          if constexpr (kind != Divergence::skew_kl) {
            const V<A> of_q = times_log(q, safe);
            term += kind == Divergence::js ? rest * of_q : of_q;
            u += kind == Divergence::js ? rest * of_q : of_q + q - beta * q * q / safe;
          }
          loss += masked<A>(mask, term, is_partial);
        }
        total_u += masked<A>(mask, u, is_partial);
        store<A>(e + i, u);
        store<A>(f + i, q);
      };
      // The overlapping last vector must see the exponentials, not what was written over them.
      const int64_t tail = (span.end - span.begin) % width<A> ? span.end - width<A> : span.end;
      const V<A> last_q = load<A>(e + span.end - width<A>), last_p = load<A>(f + span.end - width<A>);
      int64_t i = span.begin;
      for (; i + width<A> <= span.end; i += width<A>) {
        visit(i, ~I<A>{}, std::false_type{}, load<A>(e + i) * to_q, load<A>(f + i) * to_p);
      }
      if (i < span.end) {
        visit(tail, lanes_from<A>(int(width<A> - (span.end - i))), std::true_type{}, last_q * to_q, last_p * to_p);
      }
      const double scale = uses_logits ? ln_2 : 1;
      totals.loss += scale * sum<A>(loss);
      if constexpr (uses_logits) {
        totals.loss += sum<A>(weight) * (kind == Divergence::forward_kl ? -offset : offset);
      }
      totals.u += sum<A>(total_u);
    }
    return totals;
  }

  // a * ln(a / m), 0 where a is 0.
  static KDBENCH_INLINE V<A> times_log(V<A> a, V<A> m) {
    return add_product<A>(V<A>{}, a, log_of_positive<A>(a / m));
  }
  static double finite(double reference) { return reference == -infinity<double> ? 0 : reference; }

  double of_u = 0, of_q = 0;
};

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
