// The walks of plain problems in float32, compiled once for each instruction set (KDBENCH_ISA); apart from rows.cpp,
// so that two cores share the work.
#include "rows.h"
#include "short_rows.h"
#include "whole_rows.h"

namespace kdbench {

// Declared in rows.h.
int64_t KDBENCH_CONCAT(run_plain_rows_, KDBENCH_ISA)(const Problem& problem, int64_t begin, int64_t end) {
  using namespace KDBENCH_ISA_NAMESPACE;
  if (serves_short_rows<float>(problem)) {
    begin = with_plain(problem, [&](auto plain) {
      return run_short_rows<decltype(plain)::value, float>(problem, begin, end);
    });
  }
  if (!serves_whole_rows<float>(problem)) return begin;
  with_plain(problem, [&](auto plain) { run_whole_rows<decltype(plain)::value, float>(problem, begin, end); });
  return end;
}

}  // namespace kdbench
