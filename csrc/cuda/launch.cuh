// Launches and what they depend on: the device's shared memory, the width of the rows.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../problem.h"
#include "group.cuh"
#include "rows_kernel.cuh"
#include "totals.cuh"

namespace kdbench::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// kernel<<<blocks, threads, shared, stream>>>(arguments...), which is C++ as well.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared, cudaStream_t stream,
            Arguments... arguments) {
  constexpr int64_t kWithoutAsking = 48 * 1024;
  if (shared > kWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "shared memory of a kernel");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "launch of a kernel");
}

struct SharedMemory {
  int64_t block, multiprocessor;  // bytes that a block may have; that its multiprocessor has
};

inline SharedMemory shared_memory_of_device() {
  int device = 0, block = 0, all = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "device attribute");
  check(cudaDeviceGetAttribute(&all, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device), "device attribute");
  return {block, all};
}

// Elements of a row are counted in int; rows and matrices in int64_t.
constexpr int64_t kMostClasses = (int64_t{1} << 31) - 4096;
constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;

// 16-byte vectors of the row that begins at the worst address.
template <class T>
int64_t most_vectors(const Problem& problem) {
  constexpr int64_t W = Element<T>::width;
  const bool aligned = reinterpret_cast<uintptr_t>(problem.student) % 16 == 0 && problem.classes % W == 0;
  return (problem.classes + (aligned ? 0 : W - 1) + W - 1) / W;
}

// Words of a row's bitmap of classes.
template <class Loss>
int bitmap_words(const Problem& problem) {
  return Loss::kTeacher ? 0 : static_cast<int>((problem.classes + Element<typename Loss::Type>::width + 31) / 32);
}

// Rows of few vectors: a row to a warp, or to as many lanes as it has vectors.
template <class Loss>
Plan warp_plan(const Problem& problem, int64_t vectors) {
  Plan plan;
  plan.threads = kWarpThreads;
  plan.lanes = 1;
  while (plan.lanes < kWarp && plan.lanes < vectors) plan.lanes *= 2;
  plan.words = bitmap_words<Loss>(problem);
  const int64_t rows = plan.threads / plan.lanes;
  plan.shared = rows * plan.words * 4;
  plan.blocks = std::min(kMostBlocks, (problem.rows + rows - 1) / rows);
  return plan;
}

// A row to a block. Rows of up to about half of a multiprocessor's shared memory leave room for a second block, which
// loads while the first one computes; for longer rows one large block keeps as much of its row as there is room for.
template <class Loss>
Plan block_plan(const Problem& problem, int64_t vectors) {
  using T = typename Loss::Type;
  constexpr int64_t kReserved = 1024;  // of each block, by the system
  constexpr int kMost = Loss::kBlockThreads;
  const SharedMemory memory = shared_memory_of_device();
  const int64_t vector = Loss::kTeacher ? 32 : 16;
  Plan plan;
  plan.words = bitmap_words<Loss>(problem);
  const int64_t fixed = int64_t{16} * (kScratchVectors<Acc<T>> + (plan.words + 3) / 4);
  const int64_t half = memory.multiprocessor / 2 - kReserved - fixed;
  const int64_t row = vectors * vector;
  const bool large = row > half + half / 4;
  const int64_t room = std::max(int64_t{0}, large ? memory.block - fixed : std::min(half, memory.block - fixed));
  plan.held = static_cast<int>(std::min(vectors, room / vector));
  // About four vectors of each matrix to a thread.
  const int64_t threads = large ? kMost : std::min<int64_t>(kMost / 2 / kWarp * kWarp, (vectors / 4 + kWarp - 1) / kWarp * kWarp);
  plan.threads = static_cast<int>(std::clamp<int64_t>(threads, 64, kMost));
  plan.lanes = plan.threads;
  plan.shared = fixed + plan.held * vector;
  if (plan.shared > memory.block) throw std::runtime_error("a row of so many classes has no room in shared memory");
  plan.blocks = std::min(kMostBlocks, problem.rows);
  return plan;
}

template <class Loss>
void launch_rows(const Problem& problem, cudaStream_t stream) {
  using T = typename Loss::Type;
  if (problem.classes > kMostClasses) throw std::runtime_error("rows have less than 2^31 - 4,096 classes");
  const int64_t vectors = most_vectors<T>(problem);
  // Vectors of a lane for rows of up to 1,024 classes at any address.
  constexpr int kMany = 1024 / (kWarp * Element<T>::width) + 1;
  if (vectors <= kWarp) {
    const Plan plan = warp_plan<Loss>(problem, vectors);
    launch(rows_kernel<Loss, 1>, plan.blocks, plan.threads, plan.shared, stream, problem, plan);
    return;
  }
  if constexpr (sizeof(T) < 8) {
    if (vectors <= kWarp * kMany && problem.classes <= 1024) {
      const Plan plan = warp_plan<Loss>(problem, vectors);
      launch(rows_kernel<Loss, kMany>, plan.blocks, plan.threads, plan.shared, stream, problem, plan);
      return;
    }
  }
  const Plan plan = block_plan<Loss>(problem, vectors);
  launch(rows_kernel<Loss, 0>, plan.blocks, plan.threads, plan.shared, stream, problem, plan);
}

template <class Loss>
void run_typed(const Problem& problem, cudaStream_t stream) {
  using A = Acc<typename Loss::Type>;
  if (problem.rows > 0) launch_rows<Loss>(problem, stream);
  const bool hinton = problem.loss == kdbench::Loss::hinton;
  launch(totals_kernel<A>, 1, kTotalsThreads, kTotalsShared, stream, static_cast<const A*>(problem.row_losses),
         problem.rows, Loss::kTerms, hinton ? 1 - problem.alpha : problem.alpha, hinton ? problem.alpha : problem.beta,
         static_cast<A*>(problem.totals));
}

// The loss in the problem's dtype, then the totals; on the stream, with nothing allocated and nobody waited for.
template <template <class> class Loss>
void run_rows(const Problem& problem, cudaStream_t stream) {
  switch (problem.dtype) {
    case DType::f32:
      return run_typed<Loss<float>>(problem, stream);
    case DType::f64:
      return run_typed<Loss<double>>(problem, stream);
    case DType::bf16:
      return run_typed<Loss<bf16>>(problem, stream);
    case DType::f16:
      return run_typed<Loss<f16>>(problem, stream);
  }
  throw std::runtime_error("unknown dtype");
}

}  // namespace kdbench::cuda
