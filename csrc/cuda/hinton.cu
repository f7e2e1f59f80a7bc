#include "hinton.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_hinton(const Problem& problem, cudaStream_t stream) {
  if (problem.standardize) return run_rows<HintonOfScores>(problem, stream);
  run_rows<HintonOfLogits>(problem, stream);
}

}  // namespace kdbench::cuda
