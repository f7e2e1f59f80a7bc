// The Python module: what was built, and the CPU kernels called with plain addresses.
//
// An operator call through the dispatcher takes longer than a small batch does. These functions take the addresses of
// dense tensors that the caller has checked and keeps alive; they allocate nothing.
#include <pybind11/pybind11.h>

#include <utility>

#include "cpu/run.h"
#include "problem.h"

namespace py = pybind11;

namespace {

using namespace kdbench;

// Long enough to let other Python threads run meanwhile.
constexpr int64_t long_elements = 1 << 16;

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

void run(const Problem& problem) {
  if (problem.rows * problem.classes < long_elements) return run_on_cpu(problem);
  py::gil_scoped_release others_may_run;
  run_on_cpu(problem);
}

void kl(uintptr_t student, uintptr_t teacher, uintptr_t grad, uintptr_t totals, int64_t rows, int64_t classes,
        int32_t dtype, double temperature, double scale) {
  Problem problem;
  problem.student = at<void>(student);
  problem.teacher = at<void>(teacher);
  problem.grad = at<void>(grad);
  problem.totals = at<void>(totals);
  problem.rows = rows;
  problem.classes = classes;
  problem.dtype = DType(dtype);
  problem.temperature = temperature;
  problem.scale = scale;
  run(problem);
}

// The place of the first label that is neither a class nor ignore_index (-1 where there is none), and how many count.
std::pair<int64_t, int64_t> inspect(const int64_t* labels, int64_t rows, int64_t classes, int64_t ignore_index) {
  int64_t counted = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t label = labels[r];
    if (label == ignore_index) continue;
    if (label < 0 || label >= classes) return {r, counted};
    ++counted;
  }
  return {-1, counted};
}

template <class A>
void write_scalars(const A (&totals)[3], const uintptr_t (&addresses)[3]) {
  for (int i = 0; i < 3; ++i) *at<A>(addresses[i]) = totals[i];
}

// Whether it was computed: not where a label is out of range.
bool hinton(uintptr_t student, uintptr_t teacher, uintptr_t labels, uintptr_t grad, uintptr_t loss, uintptr_t ce,
            uintptr_t kd, int64_t rows, int64_t classes, int32_t dtype, double temperature, double alpha,
            int64_t ignore_index) {
  Problem problem;
  problem.labels = at<int64_t>(labels);
  const auto [bad, counted] = inspect(problem.labels, rows, classes, ignore_index);
  if (bad >= 0) return false;
  float singles[3];
  double doubles[3];
  problem.loss = Loss::hinton;
  problem.student = at<void>(student);
  problem.teacher = at<void>(teacher);
  problem.grad = at<void>(grad);
  problem.rows = rows;
  problem.classes = classes;
  problem.dtype = DType(dtype);
  problem.totals = problem.dtype == DType::f64 ? static_cast<void*>(doubles) : singles;
  problem.temperature = temperature;
  problem.alpha = alpha;
  problem.ce_scale = 1.0 / (counted > 0 ? counted : 1);
  problem.scale = temperature * temperature * problem.ce_scale;
  problem.ignore_index = ignore_index;
  run(problem);
  if (problem.dtype == DType::f64) {
    write_scalars(doubles, {loss, ce, kd});
  } else {
    write_scalars(singles, {loss, ce, kd});
  }
  return true;
}

py::dict build_info() {
  py::dict info;
  info["isa"] = chosen_isa();
  info["compiler"] = __VERSION__;
  return info;
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "kdbench's CPU kernels by address, and what was built.";
  m.def("kl", &kl);
  m.def("hinton", &hinton);
  m.def("build_info", &build_info);
}
