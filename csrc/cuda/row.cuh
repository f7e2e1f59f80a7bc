// A row of logits: read from memory once, kept, and gone over as often as a loss needs.
//
// The row is cut into 16-byte vectors at addresses that are multiples of 16, so that any number of classes and any
// alignment of the row gives wide accesses but for its two ends. Element i of the row is in vector (i + shift) / width.
// A thread owns the vectors lane, lane + lanes, ...; it alone reads and writes them, so holding them needs no barrier.
#pragma once

#include "elements.cuh"
#include "group.cuh"

namespace kdbench::cuda {

template <class T>
__device__ inline bool same_alignment(const T* row, int shift) {
  return (reinterpret_cast<uintptr_t>(row) - static_cast<unsigned>(shift) * sizeof(T)) % 16 == 0;
}

// Elements outside [0, classes) are `outside`.
template <class T>
__device__ inline uint4 load(const T* row, int first, int classes, bool wide, T outside) {
  constexpr int W = Element<T>::width;
  if (wide && first >= 0 && first + W <= classes) return *reinterpret_cast<const uint4*>(row + first);
  T parts[W];
#pragma unroll
  for (int i = 0; i < W; ++i) {
    parts[i] = outside;
    if (first + i >= 0 && first + i < classes) parts[i] = row[first + i];
  }
  return assemble(parts);
}

// Bit i of `written` says that element first + i is to be stored.
template <class T>
__device__ inline void store(T* row, int first, int classes, bool wide, unsigned written, const Lanes<T>& values) {
  constexpr int W = Element<T>::width;
  constexpr unsigned all = (1U << W) - 1;
  if (wide && written == all && first >= 0 && first + W <= classes) {
    *reinterpret_cast<uint4*>(row + first) = pack<T>(values);
    return;
  }
#pragma unroll
  for (int i = 0; i < W; ++i) {
    if (first + i >= 0 && first + i < classes && (written >> i & 1U)) narrow(values[i], row[first + i]);
  }
}

// Registers > 0: a thread keeps that many vectors in registers, and the row has no more than Registers * lanes.
// Registers = 0: the row's first `held` vectors stay in shared memory; a longer row's others are read again, from L2
// mostly: the last to be read are the first to be read again.
template <class T, int Registers, bool WithTeacher>
class Row {
 public:
  static constexpr int W = Element<T>::width;
  using A = Acc<T>;

  // Pointers are to the row's first element; `reads` is false where the row must not be looked at.
  __device__ Row(const T* student, const T* teacher, T* grad, int classes, bool reads, int lane, int lanes, uint4* shared,
                 int held, T outside_student, T outside_teacher)
      : student_(student),
        teacher_(teacher),
        grad_(grad),
        classes_(classes),
        shift_(static_cast<int>(reinterpret_cast<uintptr_t>(student) % 16 / sizeof(T))),
        vectors_((shift_ + classes + W - 1) / W),
        lane_(lane),
        lanes_(lanes),
        reads_(reads),
        wide_teacher_(same_alignment(teacher, shift_)),
        wide_grad_(same_alignment(grad, shift_)),
        shared_(shared),
        held_(held),
        outside_student_(outside_student),
        outside_teacher_(outside_teacher) {
    if constexpr (Registers > 0) {
#pragma unroll
      for (int j = 0; j < Registers; ++j) {
        const int v = lane_ + j * lanes_;
        if (reads_ && v < vectors_) fetch(v, s_[j], t_[j]);
      }
    }
  }

  __device__ int shift() const { return shift_; }
  __device__ int classes() const { return classes_; }
  __device__ bool reads() const { return reads_; }
  __device__ A student_at(int i) const { return widen(student_[i]); }
  __device__ A teacher_at(int i) const { return widen(teacher_[i]); }
  __device__ A first_student() const { return reads_ ? student_at(0) : A(0); }
  __device__ A first_teacher() const { return reads_ ? teacher_at(0) : A(0); }
  __device__ void write_at(int i, A value) { narrow(value, grad_[i]); }

  // visit(first, s, t): `first` is the index of the vector's first element, below 0 at a row that is not aligned.
  template <class Visit>
  __device__ void each(Visit visit) {
    if (!reads_) return;
    if constexpr (Registers > 0) {
#pragma unroll
      for (int j = 0; j < Registers; ++j) {
        const int v = lane_ + j * lanes_;
        if (v < vectors_) call(visit, v, s_[j], t_[j]);
      }
    } else {
      uint4 s{}, t{};
      int v = lane_;
      if (v < vectors_) get(v, s, t);
      // The next vectors are on their way while these are worked on.
      for (; v < vectors_; v += lanes_) {
        const uint4 s_now = s, t_now = t;
        const int next = v + lanes_;
        if (next < vectors_) get(next, s, t);
        if (!kept_ && v < held_) {
          shared_[v] = s_now;
          if constexpr (WithTeacher) shared_[held_ + v] = t_now;
        }
        call(visit, v, s_now, t_now);
      }
      kept_ = true;
    }
  }

  // visit(first, s, t, g) fills g and returns the mask of the elements that it wants stored.
  template <class Visit>
  __device__ void write(Visit visit) {
    const auto one = [&](int v, const uint4& s, const uint4& t) {
      Lanes<T> values;
      unsigned written = 0;
      call([&](int first, const Lanes<T>& x, const Lanes<T>& y) { written = visit(first, x, y, values); }, v, s, t);
      store(grad_, v * W - shift_, classes_, wide_grad_, written, values);
    };
    if constexpr (Registers > 0) {
#pragma unroll
      for (int j = 0; j < Registers; ++j) {
        const int v = lane_ + j * lanes_;
        if (v < vectors_) one(v, s_[j], t_[j]);
      }
    } else if (lane_ < vectors_) {
      uint4 s{}, t{};
      int v = lane_ + (vectors_ - 1 - lane_) / lanes_ * lanes_;
      get(v, s, t);
      for (; v >= 0; v -= lanes_) {
        const uint4 s_now = s, t_now = t;
        const int next = v - lanes_;
        if (next >= 0) get(next, s, t);
        one(v, s_now, t_now);
      }
    }
  }

  __device__ void fill(A value) {
    Lanes<T> values;
#pragma unroll
    for (int i = 0; i < W; ++i) values[i] = value;
    for (int v = lane_; v < vectors_; v += lanes_) {
      store(grad_, v * W - shift_, classes_, wide_grad_, (1U << W) - 1, values);
    }
  }

 private:
  __device__ void fetch(int v, uint4& s, uint4& t) const {
    s = load(student_, v * W - shift_, classes_, true, outside_student_);
    if constexpr (WithTeacher) t = load(teacher_, v * W - shift_, classes_, wide_teacher_, outside_teacher_);
  }

  __device__ void get(int v, uint4& s, uint4& t) const {
    if (kept_ && v < held_) {
      s = shared_[v];
      if constexpr (WithTeacher) t = shared_[held_ + v];
    } else {
      fetch(v, s, t);
    }
  }

  template <class Visit>
  __device__ void call(Visit&& visit, int v, const uint4& s, const uint4& t) const {
    Lanes<T> x;
    Lanes<T> y{};
    unpack<T>(s, x);
    if constexpr (WithTeacher) unpack<T>(t, y);
    visit(v * W - shift_, x, y);
  }

  const T* student_;
  const T* teacher_;
  T* grad_;
  int classes_, shift_, vectors_, lane_, lanes_;
  bool reads_, wide_teacher_, wide_grad_;
  bool kept_ = false;
  uint4* shared_;
  int held_;
  T outside_student_, outside_teacher_;
  uint4 s_[Registers > 0 ? Registers : 1];
  uint4 t_[Registers > 0 ? Registers : 1];
};

}  // namespace kdbench::cuda
