// The CUDA back end's entry points; device pointers in the problem, launches on the current device.
#pragma once

#include <cuda_runtime.h>

#include "../problem.h"

namespace kdbench::cuda {

void run_kl(const Problem& problem, cudaStream_t stream);
void run_hinton(const Problem& problem, cudaStream_t stream);
void run_divergence(const Problem& problem, cudaStream_t stream);
void run_dkd(const Problem& problem, cudaStream_t stream);
void run_topk(const Problem& problem, cudaStream_t stream);

// data[i] *= factor[0]; factor is on the device, of the arithmetic type (float, or double for f64).
void run_scale(void* data, int64_t count, DType dtype, const void* factor, cudaStream_t stream);

inline void run(const Problem& problem, cudaStream_t stream) {
  switch (problem.loss) {
    case Loss::kl:
      return run_kl(problem, stream);
    case Loss::hinton:
      return run_hinton(problem, stream);
    case Loss::divergence:
      return run_divergence(problem, stream);
    case Loss::dkd:
      return run_dkd(problem, stream);
    case Loss::topk:
      return run_topk(problem, stream);
  }
}

}  // namespace kdbench::cuda
