// Sums over the rows, by one block in a fixed order and in double: the same bits at every run. A launch of its own: a
// grid has no cheap barrier, and floating-point atomics would add in any order.
#pragma once

#include "group.cuh"
#include "rows_kernel.cuh"

namespace kdbench::cuda {

constexpr int kTotalsThreads = 512;
constexpr int64_t kTotalsShared = int64_t{16} * kScratchVectors<double>;

// losses (rows, terms); totals: the sum where terms is 1; else (weighted sum, sum of each term).
template <class A>
__global__ void __launch_bounds__(kTotalsThreads)
    totals_kernel(const A* losses, int64_t rows, int terms, double first_weight, double second_weight, A* totals) {
  BlockGroup<double> group(Plan{}, reinterpret_cast<double*>(shared_memory()));
  double sums[2] = {};
  for (int64_t row = threadIdx.x; row < rows; row += blockDim.x) {
    sums[0] += losses[row * terms];
    if (terms == 2) sums[1] += losses[row * terms + 1];
  }
  group.reduce<Add>(sums);
  if (threadIdx.x != 0) return;
  if (terms == 1) {
    totals[0] = static_cast<A>(sums[0]);
    return;
  }
  // A term of weight 0 may be infinite.
  const double first = first_weight == 0 && sums[0] == sums[0] ? 0 : first_weight * sums[0];
  const double second = second_weight == 0 && sums[1] == sums[1] ? 0 : second_weight * sums[1];
  totals[0] = static_cast<A>(first + second);
  totals[1] = static_cast<A>(sums[0]);
  totals[2] = static_cast<A>(sums[1]);
}

}  // namespace kdbench::cuda
