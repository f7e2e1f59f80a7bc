#include "dkd.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_dkd(const Problem& problem, cudaStream_t stream) { run_rows<Dkd>(problem, stream); }

}  // namespace kdbench::cuda
