// KL where the teacher is known by k listed classes of V, compared over those alone or with the rest as one more class.
//
// A bitmap in shared memory says which classes are listed (set with integer atomics: the result has no order). Other
// classes' gradients are written vector by vector; the listed ones' by index, by whoever owns the place in the list.
#pragma once

#include "rows_kernel.cuh"
#include "softmax_sums.cuh"

namespace kdbench::cuda {

template <class T>
struct Topk : LossBase<T, 1> {
  using Base = LossBase<T, 1>;
  using A = Acc<T>;
  static constexpr bool kTeacher = false;
  static constexpr int W = Base::W;

  __device__ Topk(const Problem& problem, int64_t index)
      : given_(problem.teacher_is != TeacherIs::logits),
        probs_(problem.teacher_is == TeacherIs::probs),
        bucket_(problem.tail == Tail::bucket) {
    factor_ = per_row<A>(problem.row_scale, index, problem.scale);
    this->counts = factor_ != A(0) && problem.classes > 0;
  }

  template <class R, class G>
  __device__ void measure(const Problem& problem, int64_t index, R& row, G& group, uint32_t* bitmap) {
    bitmap_ = bitmap;
    shift_ = row.shift();
    const A temperature = temperature_of<A>(problem, index);
    student_.slope = quotient(A(kLog2E), temperature);
    teacher_.slope = probs_ ? A(1) : given_ ? A(kLog2E) : student_.slope;
    if (given_) teacher_.top = 0;
    group.sync();  // the row before may still be using the bitmap
    for (int i = group.lane(); i < words(row); i += group.lanes()) bitmap[i] = 0;
    group.sync();
    A listed = 0, wrong = 0;
    if (row.reads()) {
      each_listed(problem, index, group, [&](int64_t at, A x) {
        if (at < 0 || at >= problem.classes) {
          wrong += A(1);
          return;
        }
        listed += A(1);
        const int bit = static_cast<int>(at) + shift_;
        atomicOr(&bitmap[bit / 32], 1U << (bit % 32));
        if (!given_) teacher_.raise(x);
      });
    }
    group.sync();
    A rest = 0;  // Σ of the classes that are not listed
    row.each([&](int first, const Lanes<T>& s, const Lanes<T>&) {
      rest *= student_.raise(s);
      const unsigned bits = bucket_ ? bits_at(first) : 0;
#pragma unroll
      for (int i = 0; i < W; ++i) {
        const A power = student_.power(s[i]);
        student_.sum += power;
        rest += bits >> i & 1U ? A(0) : power;
      }
    });
    A tops[2] = {student_.top, teacher_.top};
    group.template reduce<Max>(tops);
    rest *= student_.raise(tops[0]);
    teacher_.top = tops[1];
    A cross = 0;  // Σ 2^t (t - s) of the listed classes
    if (row.reads()) {
      each_listed(problem, index, group, [&](int64_t at, A x) {
        if (at < 0 || at >= problem.classes) return;
        const A power = teacher_.power(x), s = row.student_at(static_cast<int>(at));
        teacher_.sum += power;
        const A difference = (x - teacher_.top) * teacher_.slope - (s - student_.top) * student_.slope;
        cross += power == A(0) ? A(0) : power * difference;
      });
    }
    A sums[6] = {student_.sum, teacher_.sum, cross, rest, listed, wrong};
    group.template reduce<Add>(sums);
    student_.sum = sums[0], teacher_.sum = sums[1], cross = sums[2], rest = sums[3], listed = sums[4];

    if (listed == A(0) && sums[5] == A(0)) this->counts = false;
    this->numbers = sums[5] == A(0) && student_.numbers() && (bucket_ ? finite(teacher_.sum) : teacher_.numbers());
    const A step = quotient(factor_, temperature);
    double bits;
    if (bucket_) {
      const A left = A(1) - teacher_.sum;
      const bool tail = left > A(0) && listed < static_cast<A>(problem.classes);
      const A p_rest = tail ? left : A(0);
      bits = cross + static_cast<double>(teacher_.sum) * log2_of(student_.sum);
      if (tail) bits += p_rest * log2_of(p_rest * quotient(student_.sum, rest));
      scale_q_ = quotient(step * (teacher_.sum + p_rest), student_.sum);
      scale_p_ = step;
      scale_rest_ = scale_q_ - (rest > A(0) ? quotient(step * p_rest, rest) : A(0));
    } else {
      bits = quotient(cross, teacher_.sum) + log2_of(quotient(student_.sum, teacher_.sum));
      scale_q_ = scale_rest_ = quotient(step, student_.sum);
      scale_p_ = quotient(step, teacher_.sum);
    }
    this->terms[0] = factor_ * static_cast<A>(bits * kLn2);
  }

  __device__ unsigned gradient(int first, const Lanes<T>& s, const Lanes<T>&, Lanes<T>& g) const {
#pragma unroll
    for (int i = 0; i < W; ++i) g[i] = student_.power(s[i]) * scale_rest_;
    return ~bits_at(first) & Base::kWhole;
  }

  // Nobody else writes the listed elements, so that the student's logits there are still as they were.
  template <class R, class G>
  __device__ void finish_gradient(const Problem& problem, int64_t index, R& row, G& group) const {
    each_listed(problem, index, group, [&](int64_t at, A x) {
      const int i = static_cast<int>(at);
      row.write_at(i, student_.power(row.student_at(i)) * scale_q_ - teacher_.power(x) * scale_p_);
    });
  }

 private:
  template <class R>
  __device__ static int words(const R& row) {
    return (row.classes() + row.shift() + 31) / 32;
  }
  // A vector's bits lie in one word: its first element's place is a multiple of its width.
  __device__ unsigned bits_at(int first) const {
    const int bit = first + shift_;
    return bitmap_[bit / 32] >> (bit % 32) & Base::kWhole;
  }

  // visit(class, value) of this thread's places in the list but the empty ones; probabilities come as their log2.
  template <class G, class Visit>
  __device__ void each_listed(const Problem& problem, int64_t index, const G& group, Visit visit) const {
    const int64_t start = index * problem.k;
    const T* const values = static_cast<const T*>(problem.teacher) + start;
    for (int64_t j = group.lane(); j < problem.k; j += group.lanes()) {
      const int64_t at = problem.indices[start + j];
      if (at == -1) continue;
      const A value = widen(values[j]);
      visit(at, probs_ ? log2_of(value) : value);
    }
  }

  bool given_, probs_, bucket_;
  A factor_;
  int shift_ = 0;
  const uint32_t* bitmap_ = nullptr;
  A scale_q_ = 0, scale_p_ = 0, scale_rest_ = 0;
  Softmax<T> student_, teacher_;
};

}  // namespace kdbench::cuda
