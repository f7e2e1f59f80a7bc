#include "divergence.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_divergence(const Problem& problem, cudaStream_t stream) {
  if (problem.divergence == Divergence::forward_kl) {
    Problem forward = problem;
    forward.teacher_is = TeacherIs::logits;
    forward.standardize = false;
    return run_kl(forward, stream);
  }
  run_rows<Diverge>(problem, stream);
}

}  // namespace kdbench::cuda
