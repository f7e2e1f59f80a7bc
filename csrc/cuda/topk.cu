#include "topk.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

void run_topk(const Problem& problem, cudaStream_t stream) { run_rows<Topk>(problem, stream); }

}  // namespace kdbench::cuda
