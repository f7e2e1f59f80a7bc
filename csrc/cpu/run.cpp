#include "run.h"

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "rows.h"

namespace kdbench {
namespace {

using RunRows = void (*)(const Problem&, int64_t, int64_t);

struct Isa {
  const char* name;
  RunRows run;
};

// Built for one machine, its own instruction set alone is there; built for all, the best that this machine has.
Isa choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
#if defined(KDBENCH_HAS_v4)
  if (__builtin_cpu_supports("x86-64-v4")) return {"v4", run_rows_v4};
#endif
#if defined(KDBENCH_HAS_v3)
  if (__builtin_cpu_supports("x86-64-v3")) return {"v3", run_rows_v3};
#endif
#if defined(KDBENCH_HAS_baseline)
  return {"baseline", run_rows_baseline};
#else
  STD_TORCH_CHECK(false, "kdbench's CPU kernels were built for another processor; kdbench kernels build --force");
#endif
}

const Isa& isa() {
  static const Isa chosen = choose();
  return chosen;
}

// In row order, whatever the number of threads.
template <class A>
void sum_rows(const Problem& problem) {
  const A* rows = static_cast<const A*>(problem.row_losses);
  A* totals = static_cast<A*>(problem.totals);
  if (terms(problem.loss) == 1) {
    double total = 0;
    for (int64_t r = 0; r < problem.rows; ++r) total += rows[r];
    totals[0] = A(total);
    return;
  }
  double first = 0, second = 0;
  for (int64_t r = 0; r < problem.rows; ++r) {
    first += rows[2 * r];
    second += rows[2 * r + 1];
  }
  const bool hinton = problem.loss == Loss::hinton;
  // A term of weight 0 is left out, so that it costs nothing where it is infinite.
  const auto weighted = [](double weight, double term) { return weight == 0 ? 0 : weight * term; };
  totals[0] = A(hinton ? weighted(1 - problem.alpha, first) + weighted(problem.alpha, second)
                       : weighted(problem.alpha, first) + weighted(problem.beta, second));
  totals[1] = A(first);
  totals[2] = A(second);
}

}  // namespace

const char* chosen_isa() { return isa().name; }

void run_on_cpu(Problem problem) {
  // Below about 20 us of work, waking another thread costs more than it saves.
  constexpr int64_t elements_of_a_thread = 16384;
  static thread_local std::vector<double> own_rows;
  if (!problem.row_losses) {
    own_rows.resize(problem.rows * terms(problem.loss));
    problem.row_losses = own_rows.data();
  }
  if (problem.classes == 0) {
    const size_t size = problem.dtype == DType::f64 ? sizeof(double) : sizeof(float);
    std::memset(problem.row_losses, 0, problem.rows * terms(problem.loss) * size);
  } else if (problem.rows * problem.classes < 2 * elements_of_a_thread) {
    isa().run(problem, 0, problem.rows);
  } else {
    const int64_t grain = std::max<int64_t>(1, elements_of_a_thread / problem.classes);
    torch::stable::parallel_for(0, problem.rows, grain,
                                [&](int64_t begin, int64_t end) { isa().run(problem, begin, end); });
  }
  if (problem.dtype == DType::f64) {
    sum_rows<double>(problem);
  } else {
    sum_rows<float>(problem);
  }
}

}  // namespace kdbench
