// The kernel of every loss: rows to groups of threads; statistics, then the gradient, in one launch.
//
// A loss is a class with
//   Type, kTeacher (its teacher is a matrix like the student), kTerms, kBlockThreads;
//   Loss(problem, row): whether the row counts, its factors;
//   measure(row, group): goes over the row, reduces, and leaves `terms` and whether all of it was `numbers`;
//   gradient(first, s, t, g): fills g, returns the mask of the elements to store;
//   finish_gradient(row, group): what is not written vector by vector.
#pragma once

#include <type_traits>

#include "../problem.h"
#include "group.cuh"
#include "row.cuh"

namespace kdbench::cuda {

// All shared memory of a block: reduction scratch (blocks of one row), bitmaps, held vectors.
__device__ inline uint4* shared_memory() {
#ifdef KDBENCH_CUDA_EMULATION
  return emulation::shared_memory();
#else
  extern __shared__ uint4 memory[];
  return memory;
#endif
}

template <class A>
constexpr int kScratchVectors = 2 * kMostSums * kWarp * static_cast<int>(sizeof(A)) / 16;

template <class A>
__device__ inline A per_row(const void* values, int64_t row, double otherwise) {
  return static_cast<A>(otherwise) * (values == nullptr ? A(1) : static_cast<const A*>(values)[row]);
}

template <class A>
__device__ inline A temperature_of(const Problem& problem, int64_t row) {
  return problem.row_temperature == nullptr ? static_cast<A>(problem.temperature)
                                            : static_cast<const A*>(problem.row_temperature)[row];
}

constexpr int kWarpThreads = 128;
// A warp's kernel may have the registers of three such blocks to a multiprocessor, which has 65,536.
constexpr int kWarpBlocks = 3;

template <class Loss, int Registers>
__global__ void __launch_bounds__(Registers > 0 ? kWarpThreads : Loss::kBlockThreads, Registers > 0 ? kWarpBlocks : 1)
    rows_kernel(const Problem problem, const Plan plan) {
  using T = typename Loss::Type;
  using A = Acc<T>;
  using Group = std::conditional_t<(Registers > 0), WarpGroup<A>, BlockGroup<A>>;
  constexpr int scratch = Registers > 0 ? 0 : kScratchVectors<A>;
  uint4* const memory = shared_memory();
  Group group(plan, reinterpret_cast<A*>(memory));
  auto* const bitmap = reinterpret_cast<uint32_t*>(memory + scratch) + group.in_block() * plan.words;
  uint4* const held = memory + scratch + (plan.words + 3) / 4;

  for (int64_t base = group.base(); base < problem.rows; base += group.stride()) {
    // A warp's lanes beyond the last row take part in its reductions, and do nothing else.
    const bool exists = group.row(base) < problem.rows;
    const int64_t index = exists ? group.row(base) : problem.rows - 1;
    const int64_t start = index * problem.classes;
    Loss loss(problem, index);
    const T* const teacher = Loss::kTeacher ? static_cast<const T*>(problem.teacher) + start : nullptr;
    T* const grad = problem.grad != nullptr ? static_cast<T*>(problem.grad) + start : nullptr;
    Row<T, Registers, Loss::kTeacher> row(
        static_cast<const T*>(problem.student) + start, teacher, grad,
        static_cast<int>(problem.classes), exists && loss.counts, group.lane(), group.lanes(), held, plan.held,
        loss.outside_student(), loss.outside_teacher());
    loss.measure(problem, index, row, group, bitmap);
    if (!exists) continue;
    if (group.lane() == 0) {
      auto* const losses = static_cast<A*>(problem.row_losses) + index * Loss::kTerms;
#pragma unroll
      for (int k = 0; k < Loss::kTerms; ++k) {
        losses[k] = !loss.counts ? A(0) : loss.numbers ? loss.terms[k] : nan<A>();
      }
    }
    if (grad == nullptr) continue;
    if (!loss.counts || !loss.numbers) {
      row.fill(loss.counts ? nan<A>() : A(0));
      continue;
    }
    row.write([&](int first, const Lanes<T>& s, const Lanes<T>& t, Lanes<T>& g) { return loss.gradient(first, s, t, g); });
    loss.finish_gradient(problem, index, row, group);
  }
}

// What most losses have in common.
template <class T, int Terms>
struct LossBase {
  using Type = T;
  using A = Acc<T>;
  static constexpr bool kTeacher = true;
  static constexpr int kTerms = Terms;
  static constexpr int W = Element<T>::width;
  static constexpr unsigned kWhole = (1U << W) - 1;
  // The most threads that a row is given: 1,024 leave 64 registers to each, and 8 elements at a time take 80. float64
  // takes more, and speed is not what it is for.
  static constexpr int kBlockThreads = sizeof(T) == 8 ? 256 : sizeof(T) == 4 ? 1024 : 768;

  bool counts = false;
  bool numbers = false;
  A terms[Terms] = {};

  // Elements that the row does not have: impossible classes, which add nothing to any sum.
  __device__ static T outside_student() {
    T value;
    narrow(-infinity<A>(), value);
    return value;
  }
  __device__ T outside_teacher() const { return outside_student(); }

  template <class R, class G>
  __device__ void finish_gradient(const Problem&, int64_t, R&, G&) const {}
};

}  // namespace kdbench::cuda
