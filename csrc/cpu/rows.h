// The row kernels of each instruction set that there may be (KDBENCH_HAS_*: those that the build has).
#pragma once

#include "../problem.h"

namespace kdbench {

#define KDBENCH_DECLARE_ROWS(isa)                                                                  \
  /* Losses and gradients of rows [begin, end) of a problem. */                                    \
  void run_rows_##isa(const Problem& problem, int64_t begin, int64_t end);                         \
  /* Of float32 logits, where a walk of its own serves them: the first row that is left to do. */  \
  int64_t run_plain_rows_##isa(const Problem& problem, int64_t begin, int64_t end);

KDBENCH_DECLARE_ROWS(baseline)
KDBENCH_DECLARE_ROWS(v3)
KDBENCH_DECLARE_ROWS(v4)
KDBENCH_DECLARE_ROWS(native)  // this machine's, in tests

#undef KDBENCH_DECLARE_ROWS

}  // namespace kdbench
