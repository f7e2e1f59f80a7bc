#include "hinton.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_hinton(const Problem& problem, cudaStream_t stream) { run_rows<Hinton>(problem, stream); }

}  // namespace kdbench::cuda
