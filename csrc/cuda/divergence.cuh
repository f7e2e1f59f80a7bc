// Divergences of p = softmax(teacher / T) and q = softmax(student / T) other than KL(p || q), which is kl.cuh's.
//
// Reverse KL; generalised Jensen-Shannon (Agarwal et al., 2024, eq. 2); skewed KL and skewed reverse KL (Ko et al.,
// 2024); total variation. With u = q df/dq the gradient is (u - q Σu) / T: two sums once p and q are known.
#pragma once

#include "rows_kernel.cuh"
#include "softmax_sums.cuh"

namespace kdbench::cuda {

template <class T>
struct Diverge : LossBase<T, 1> {
  using Base = LossBase<T, 1>;
  using A = Acc<T>;
  static constexpr int W = Base::W;

  __device__ Diverge(const Problem& problem, int64_t index)
      : kind_(problem.divergence), beta_(static_cast<A>(problem.beta)) {
    factor_ = per_row<A>(problem.row_scale, index, problem.scale);
    this->counts = factor_ != A(0) && problem.classes > 0;
  }

  template <class R, class G>
  __device__ void measure(const Problem& problem, int64_t index, R& row, G& group, uint32_t*) {
    const A temperature = temperature_of<A>(problem, index);
    student_.slope = teacher_.slope = quotient(A(kLog2E), temperature);
    row.each([&](int, const Lanes<T>& s, const Lanes<T>& t) {
      student_.raise(s);
      teacher_.raise(t);
#pragma unroll
      for (int i = 0; i < W; ++i) {
        student_.sum += student_.power(s[i]);
        teacher_.sum += teacher_.power(t[i]);
      }
    });
    A tops[2] = {student_.top, teacher_.top};
    group.template reduce<Max>(tops);
    student_.raise(tops[0]);
    teacher_.raise(tops[1]);
    A sums[2] = {student_.sum, teacher_.sum};
    group.template reduce<Add>(sums);
    student_.sum = sums[0], teacher_.sum = sums[1];
    over_q_ = quotient(A(1), student_.sum), over_p_ = quotient(A(1), teacher_.sum);
    log_ratio_ = log2_of(quotient(teacher_.sum, student_.sum));

    A values[2] = {};  // the divergence, Σu
    row.each([&](int, const Lanes<T>& s, const Lanes<T>& t) {
      parts(s, t, [&](int, A f, A u, A) { values[0] += f, values[1] += u; });
    });
    group.template reduce<Add>(values);
    step_ = quotient(factor_, temperature);
    mean_ = values[1];
    this->terms[0] = factor_ * values[0];
    this->numbers = student_.numbers() && teacher_.numbers();
  }

  __device__ unsigned gradient(int, const Lanes<T>& s, const Lanes<T>& t, Lanes<T>& g) const {
    parts(s, t, [&](int i, A, A u, A q) { g[i] = step_ * (u - q * mean_); });
    return Base::kWhole;
  }

 private:
  // x log(ratio) in nats, 0 where x is, or is so small that the mixture is. NaN shows in the sums of the softmax.
  __device__ static A times_log(A x, A ratio) {
    return x > A(0) && ratio > A(0) ? x * log2_of(ratio) * A(kLn2) : A(0);
  }
  // x / m, where the mixture m holds some of x; 0 where both are.
  __device__ static A over(A x, A m) { return m == A(0) ? A(0) : quotient(x, m); }

  // use(i, f, u, q) of every element: the term of the divergence, u but for multiples of q, which cancel in the
  // gradient, and q.
  template <class Use>
  __device__ void parts(const Lanes<T>& s, const Lanes<T>& t, Use use) const {
    const A beta = beta_, rest = A(1) - beta_;
    const auto each = [&](auto one) {
#pragma unroll
      for (int i = 0; i < W; ++i) one(i, student_.power(s[i]) * over_q_, teacher_.power(t[i]) * over_p_);
    };
    switch (kind_) {
      case Divergence::reverse_kl:
        return each([&](int i, A q, A) {
          // In logarithms: p may be too small for a number where its logarithm is not.
          const A bits = (s[i] - student_.top) * student_.slope - (t[i] - teacher_.top) * teacher_.slope + log_ratio_;
          const A f = q == A(0) ? A(0) : q * bits * A(kLn2);
          use(i, f, f, q);
        });
      case Divergence::js:
        return each([&](int i, A q, A p) {
          const A m = beta * p + rest * q;
          const A u = rest * times_log(q, over(q, m));
          use(i, beta * times_log(p, over(p, m)) + u, u, q);
        });
      case Divergence::skew_kl:
        return each([&](int i, A q, A p) {
          const A ratio = over(p, beta * p + rest * q);
          use(i, times_log(p, ratio), -rest * q * ratio, q);
        });
      case Divergence::skew_reverse_kl:
        return each([&](int i, A q, A p) {
          const A ratio = over(q, rest * p + beta * q);
          const A f = times_log(q, ratio);
          use(i, f, f - q * (beta * ratio), q);
        });
      default:  // tvd
        return each([&](int i, A q, A p) {
          const A d = q - p, half = q / A(2);
          use(i, (d < A(0) ? -d : d) / A(2), d == A(0) ? A(0) : d < A(0) ? -half : half, q);
        });
    }
  }

  Divergence kind_;
  A beta_, factor_, step_ = 0, mean_ = 0, over_q_ = 0, over_p_ = 0, log_ratio_ = 0;
  Softmax<T> student_, teacher_;
};

}  // namespace kdbench::cuda
