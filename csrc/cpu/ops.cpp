// The operators on CPU tensors.
#include "../operators.h"
#include "run.h"

namespace kdbench {
namespace {

using torch::stable::Tensor;

void run(const Problem& problem, const Tensor&) { run_on_cpu(problem); }

}  // namespace
}  // namespace kdbench

STABLE_TORCH_LIBRARY_IMPL(kdbench, CPU, m) { kdbench::Operators<&kdbench::run>::add_to(m); }
