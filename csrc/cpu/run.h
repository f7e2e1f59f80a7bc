// The CPU back end: one call runs a whole problem, in parallel where it is worth it.
#pragma once

#include "../problem.h"

#define KDBENCH_EXPORT __attribute__((visibility("default")))

namespace kdbench {

// Fill grad, row_losses and totals. row_losses may be null; labels must lie in range or be ignore_index.
KDBENCH_EXPORT void run_on_cpu(Problem problem);

// The instruction set chosen on this machine: "v4", "v3" or "baseline".
KDBENCH_EXPORT const char* chosen_isa();

}  // namespace kdbench
