#include "kl.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_kl(const Problem& problem, cudaStream_t stream) {
  if (problem.standardize) return run_rows<KlOfScores>(problem, stream);
  run_rows<KlOfLogits>(problem, stream);
}

}  // namespace kdbench::cuda
