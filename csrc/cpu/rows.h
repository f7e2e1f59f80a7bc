// The row kernels of each instruction set that the build has (KDBENCH_HAS_*): losses and gradients of rows [begin, end) of a problem.
#pragma once

#include "../problem.h"

namespace kdbench {

#if defined(KDBENCH_HAS_baseline)
void run_rows_baseline(const Problem& problem, int64_t begin, int64_t end);
#endif
#if defined(KDBENCH_HAS_v3)
void run_rows_v3(const Problem& problem, int64_t begin, int64_t end);
#endif
#if defined(KDBENCH_HAS_v4)
void run_rows_v4(const Problem& problem, int64_t begin, int64_t end);
#endif

}  // namespace kdbench
