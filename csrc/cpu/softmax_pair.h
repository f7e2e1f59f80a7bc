// The first pass over a row of student and teacher logits: exponentials, and what is needed to normalise them.
//
// The row is taken in blocks that fit the first-level cache. Each block has its own maxima as reference, so that it is
// read from memory once; `close` brings the blocks together. Two exponentials per element, kept in scratch memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "../problem.h"
#include "elementary.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

constexpr double log2_e = 1.4426950408889634074;
constexpr double ln_2 = 0.69314718055994530942;
constexpr int64_t block_elements = 1024;

// Call body(offset, mask) for vectors that cover [begin, end), end - begin >= the width. The last one may overlap the
// one before: mask has the bits of elements that were not visited set. Bodies may do to an element twice what is the same
// both times (maxima, stores of a function of the inputs); sums take the mask.
template <class A, class Body>
KDBENCH_INLINE void for_vectors(int64_t begin, int64_t end, Body body) {
  constexpr int w = width<A>;
  int64_t at = begin;
  for (; at + w <= end; at += w) body(at, ~I<A>{}, std::false_type{});
  if (at < end) body(end - w, lanes_from<A>(int(w - (end - at))), std::true_type{});
}

template <class A, bool partial>
KDBENCH_INLINE V<A> masked(I<A> mask, V<A> value, std::bool_constant<partial>) {
  if constexpr (partial) {
    return keep<A>(mask, value);
  } else {
    return value;
  }
}

inline int64_t block_count(int64_t classes) {
  const int64_t whole = classes / block_elements;
  return whole > 0 ? whole : 1;
}

struct Span {
  int64_t begin, end;
};

// The classes of a block. The last block takes what is left, so that none is shorter than a vector.
inline Span block_span(int64_t block, int64_t blocks, int64_t classes) {
  return {block * block_elements, block + 1 == blocks ? classes : (block + 1) * block_elements};
}

// One value per block, for each of the quantities that the first pass leaves behind. References are exponents of 2
// (max * rate; -inf where no class is left); sums are relative to them: of the exponentials, of f * (y - x), and of the
// student's exponentials at T = 1. `close` turns the references into factors, from the block's reference to the row's.
struct Blocks {
  std::vector<double> student, teacher, plain;
  std::vector<double> student_sum, teacher_sum, plain_sum, cross;

  void resize(int64_t count) {
    const int64_t padded = (count + 7) / 8 * 8;  // whole vectors of doubles
    for (auto* values : {&student, &teacher, &plain, &student_sum, &teacher_sum, &plain_sum, &cross}) {
      values->assign(padded, 0);
    }
  }
};

// Scratch memory of one thread, grown as needed and aligned for whole vectors.
template <class A>
class Scratch {
 public:
  static constexpr int arrays = 4;

  void reserve(int64_t classes) {
    if (classes <= capacity_) return;
    const int64_t padded = (classes + 2 * 64 / int64_t(sizeof(A))) / 16 * 16;
    for (auto& array : memory_) {
      array.reset(static_cast<A*>(std::aligned_alloc(64, ((padded * sizeof(A)) + 63) / 64 * 64)));
      if (!array) throw std::bad_alloc();
    }
    blocks_.resize(block_count(classes));
    capacity_ = classes;
  }
  A* operator[](int index) { return memory_[index].get(); }
  Blocks& blocks() { return blocks_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<A, Free> memory_[arrays];
  Blocks blocks_;
  int64_t capacity_ = -1;
};

// What the blocks say together, relative to the row's references.
struct PairSums {
  double student_sum = 0, teacher_sum = 0, plain_sum = 0;
  double cross = 0;
  double student_reference = 0, teacher_reference = 0, plain_reference = 0;
};

inline double largest_of(const std::vector<double>& references, int64_t count) {
  double largest = references[0];
  for (int64_t b = 1; b < count; ++b) largest = references[b] > largest ? references[b] : largest;
  return largest;
}

// A quantity's references become factors, relative to the largest, the row's.
inline void close_references(std::vector<double>& references, int64_t count, double largest) {
  for (int64_t b = 0; b < count; b += width<double>) {
    const V<double> reference = load<double>(&references[b]);
    // A block without a class had 0 as its reference, and has sums of 0.
    const V<double> shift = reference == -infinity<double> ? V<double>{} : reference - largest;
    store<double>(&references[b], exp2_of_negative<double>(shift));
  }
}

// Bring the blocks to the row's references.
template <bool plain>
KDBENCH_INLINE PairSums close(Blocks& blocks, int64_t count) {
  if (count == 1) {
    PairSums sums{blocks.student_sum[0], blocks.teacher_sum[0], blocks.plain_sum[0], blocks.cross[0],
                  blocks.student[0],     blocks.teacher[0],     blocks.plain[0]};
    blocks.student[0] = blocks.teacher[0] = blocks.plain[0] = 1;
    return sums;
  }
  PairSums sums;
  sums.student_reference = largest_of(blocks.student, count);
  sums.teacher_reference = largest_of(blocks.teacher, count);
  if constexpr (plain) sums.plain_reference = largest_of(blocks.plain, count);
  // f * (y - x) refers to the references themselves, so its shift is taken before they are gone.
  for (int64_t b = 0; b < count; ++b) {
    const double dx = blocks.student[b] == -infinity<double> ? 0 : blocks.student[b] - sums.student_reference;
    const double dy = blocks.teacher[b] == -infinity<double> ? 0 : blocks.teacher[b] - sums.teacher_reference;
    blocks.cross[b] = blocks.teacher_sum[b] == 0 ? 0 : blocks.cross[b] + blocks.teacher_sum[b] * (dy - dx);
  }
  close_references(blocks.student, count, sums.student_reference);
  close_references(blocks.teacher, count, sums.teacher_reference);
  if constexpr (plain) close_references(blocks.plain, count, sums.plain_reference);
  for (int64_t b = 0; b < count; ++b) {
    sums.student_sum += blocks.student[b] * blocks.student_sum[b];
    sums.teacher_sum += blocks.teacher[b] * blocks.teacher_sum[b];
    sums.cross += blocks.teacher[b] * blocks.cross[b];
    if constexpr (plain) sums.plain_sum += blocks.plain[b] * blocks.plain_sum[b];
  }
  return sums;
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
