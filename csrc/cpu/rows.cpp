// The row kernels, compiled once for each instruction set (KDBENCH_ISA): every loss for every type of logits.
#include "divergence.h"
#include "dkd.h"
#include "kl.h"
#include "rows.h"
#include "topk.h"

namespace kdbench {
namespace KDBENCH_ISA_NAMESPACE {

template <class T>
struct Of {
  using type = T;
};

template <class In, class A, class Loss>
void run_loss(const Problem& problem, int64_t begin, int64_t end) {
  static thread_local Scratch<A> scratch;
  scratch.reserve(std::max<int64_t>(problem.classes, width<A>));
  Loss loss(problem, scratch);
  run<In, A>(loss, begin, end);
}

template <class In, class A>
void run_typed(const Problem& problem, int64_t begin, int64_t end) {
  if constexpr (std::is_same_v<In, float>) {
    begin = KDBENCH_CONCAT(run_plain_rows_, KDBENCH_ISA)(problem, begin, end);
    if (begin == end) return;
  }
  const auto with = [&](auto tag) { run_loss<In, A, typename decltype(tag)::type>(problem, begin, end); };
  switch (problem.loss) {
    case Loss::kl:
      if (problem.standardize) return with(Of<Kl<A, Side::logits, false, true>>{});
      switch (problem.teacher_is) {
        case TeacherIs::logits: return with(Of<Kl<A, Side::logits, false, false>>{});
        case TeacherIs::log_probs: return with(Of<Kl<A, Side::log_probs, false, false>>{});
        case TeacherIs::probs: return with(Of<Kl<A, Side::probs, false, false>>{});
      }
      return;
    case Loss::hinton:
      if (problem.standardize) return with(Of<Kl<A, Side::logits, true, true>>{});
      return with(Of<Kl<A, Side::logits, true, false>>{});
    case Loss::divergence: return with(Of<DivergenceRow<A>>{});
    case Loss::dkd: return with(Of<Dkd<A>>{});
    case Loss::topk: return with(Of<TopK<A>>{});
  }
}

}  // namespace KDBENCH_ISA_NAMESPACE

// Declared in rows.h.
void KDBENCH_CONCAT(run_rows_, KDBENCH_ISA)(const Problem& problem, int64_t begin, int64_t end) {
  using namespace KDBENCH_ISA_NAMESPACE;
  switch (problem.dtype) {
    case DType::f32: return run_typed<float, float>(problem, begin, end);
    case DType::f64: return run_typed<double, double>(problem, begin, end);
    case DType::bf16: return run_typed<bf16, float>(problem, begin, end);
    case DType::f16: return run_typed<f16, float>(problem, begin, end);
  }
}

}  // namespace kdbench
