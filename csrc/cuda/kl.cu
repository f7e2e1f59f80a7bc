#include "kl.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_kl(const Problem& problem, cudaStream_t stream) { run_rows<Kl>(problem, stream); }

}  // namespace kdbench::cuda
