// The Python module: what was built, and the CPU kernels called with plain addresses.
//
// An operator call through the dispatcher takes longer than a small batch does. These functions take the addresses of
// dense tensors that the caller has checked and keeps alive; they allocate nothing.
#include <pybind11/pybind11.h>

#include <optional>

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

void hinton(uintptr_t student, uintptr_t teacher, uintptr_t labels, uintptr_t grad, uintptr_t totals, int64_t rows,
            int64_t classes, int32_t dtype, double temperature, double alpha, double scale, double ce_scale,
            int64_t ignore_index) {
  Problem problem;
  problem.loss = Loss::hinton;
  problem.student = at<void>(student);
  problem.teacher = at<void>(teacher);
  problem.labels = at<int64_t>(labels);
  problem.grad = at<void>(grad);
  problem.totals = at<void>(totals);
  problem.rows = rows;
  problem.classes = classes;
  problem.dtype = DType(dtype);
  problem.temperature = temperature;
  problem.alpha = alpha;
  problem.scale = scale;
  problem.ce_scale = ce_scale;
  problem.ignore_index = ignore_index;
  run(problem);
}

// How many labels count, and the place of the first that is neither a class nor ignore_index (-1 where there is none).
std::pair<int64_t, int64_t> inspect_labels(uintptr_t labels, int64_t rows, int64_t classes, int64_t ignore_index) {
  int64_t counted = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t label = at<const int64_t>(labels)[r];
    if (label == ignore_index) continue;
    if (label < 0 || label >= classes) return {counted, r};
    ++counted;
  }
  return {counted, -1};
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
  m.def("inspect_labels", &inspect_labels);
  m.def("build_info", &build_info);
}
