// The operators on the CPU: tensors to a problem, and its outputs back.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>

#include "../tensors.h"
#include "run.h"

namespace kdbench {
namespace {

using torch::stable::Tensor;

Call kl_call(const Tensor& student, const Tensor& teacher, double temperature,
             const std::optional<Tensor>& row_temperature, double scale, const std::optional<Tensor>& row_scale,
             int64_t teacher_is, bool standardize) {
  Call call(Loss::kl, student, teacher, temperature, row_temperature, scale, row_scale);
  call.problem.teacher_is = TeacherIs(teacher_is);
  call.problem.standardize = standardize;
  STD_TORCH_CHECK(!standardize || teacher_is == 0, "kdbench: standardize needs the teacher's logits");
  return call;
}

std::tuple<Tensor, Tensor, Tensor> kl(const Tensor& student, const Tensor& teacher, double temperature,
                                      std::optional<Tensor> row_temperature, double scale,
                                      std::optional<Tensor> row_scale, int64_t teacher_is, bool standardize) {
  Call call = kl_call(student, teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize);
  call.write_new_gradient();
  run_on_cpu(call.problem);
  return {call.rows, call.totals, *call.grad};
}

std::tuple<Tensor, Tensor> kl_in_place(const Tensor& student, const Tensor& teacher, double temperature,
                                       std::optional<Tensor> row_temperature, double scale,
                                       std::optional<Tensor> row_scale, int64_t teacher_is, bool standardize) {
  Call call = kl_call(student, teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize);
  call.problem.grad = student.mutable_data_ptr();
  run_on_cpu(call.problem);
  return {call.rows, call.totals};
}

Call hinton_call(const Tensor& student, const Tensor& teacher, const Tensor& labels, double temperature,
                 const std::optional<Tensor>& row_temperature, double alpha, double scale,
                 const std::optional<Tensor>& row_scale, double ce_scale, const std::optional<Tensor>& ce_row_scale,
                 double label_smoothing, const std::optional<Tensor>& class_weight, int64_t ignore_index,
                 bool standardize) {
  Call call(Loss::hinton, student, teacher, temperature, row_temperature, scale, row_scale);
  call.problem.labels = call.integers(labels);
  call.problem.alpha = alpha;
  call.problem.ce_scale = ce_scale;
  call.problem.ce_row_scale = call.optional(ce_row_scale);
  call.problem.label_smoothing = label_smoothing;
  call.problem.class_weight = call.optional(class_weight);
  call.problem.ignore_index = ignore_index;
  call.problem.standardize = standardize;
  return call;
}

std::tuple<Tensor, Tensor, Tensor> hinton(const Tensor& student, const Tensor& teacher, const Tensor& labels,
                                          double temperature, std::optional<Tensor> row_temperature, double alpha,
                                          double scale, std::optional<Tensor> row_scale, double ce_scale,
                                          std::optional<Tensor> ce_row_scale, double label_smoothing,
                                          std::optional<Tensor> class_weight, int64_t ignore_index,
                                          bool standardize) {
  Call call = hinton_call(student, teacher, labels, temperature, row_temperature, alpha, scale, row_scale, ce_scale,
                          ce_row_scale, label_smoothing, class_weight, ignore_index, standardize);
  call.write_new_gradient();
  run_on_cpu(call.problem);
  return {call.rows, call.totals, *call.grad};
}

std::tuple<Tensor, Tensor> hinton_in_place(const Tensor& student, const Tensor& teacher, const Tensor& labels,
                                           double temperature, std::optional<Tensor> row_temperature, double alpha,
                                           double scale, std::optional<Tensor> row_scale, double ce_scale,
                                           std::optional<Tensor> ce_row_scale, double label_smoothing,
                                           std::optional<Tensor> class_weight, int64_t ignore_index,
                                           bool standardize) {
  Call call = hinton_call(student, teacher, labels, temperature, row_temperature, alpha, scale, row_scale, ce_scale,
                          ce_row_scale, label_smoothing, class_weight, ignore_index, standardize);
  call.problem.grad = student.mutable_data_ptr();
  run_on_cpu(call.problem);
  return {call.rows, call.totals};
}

std::tuple<Tensor, Tensor, Tensor> divergence(const Tensor& student, const Tensor& teacher, int64_t kind, double beta,
                                              double temperature, std::optional<Tensor> row_temperature, double scale,
                                              std::optional<Tensor> row_scale) {
  Call call(Loss::divergence, student, teacher, temperature, row_temperature, scale, row_scale);
  call.problem.divergence = Divergence(kind);
  call.problem.beta = beta;
  call.write_new_gradient();
  run_on_cpu(call.problem);
  return {call.rows, call.totals, *call.grad};
}

std::tuple<Tensor, Tensor, Tensor> dkd(const Tensor& student, const Tensor& teacher, const Tensor& labels, double alpha,
                                       double beta, double temperature, std::optional<Tensor> row_temperature,
                                       double scale, std::optional<Tensor> row_scale, int64_t ignore_index) {
  Call call(Loss::dkd, student, teacher, temperature, row_temperature, scale, row_scale);
  call.problem.labels = call.integers(labels);
  call.problem.alpha = alpha;
  call.problem.beta = beta;
  call.problem.ignore_index = ignore_index;
  call.write_new_gradient();
  run_on_cpu(call.problem);
  return {call.rows, call.totals, *call.grad};
}

std::tuple<Tensor, Tensor, Tensor> topk(const Tensor& student, const Tensor& teacher_values,
                                        const Tensor& teacher_indices, double temperature,
                                        std::optional<Tensor> row_temperature, double scale,
                                        std::optional<Tensor> row_scale, int64_t values_are, int64_t tail) {
  Call call(Loss::topk, student, teacher_values, temperature, row_temperature, scale, row_scale);
  call.problem.indices = call.integers(teacher_indices);
  call.problem.k = teacher_indices.size(1);
  call.problem.teacher_is = TeacherIs(values_are);
  call.problem.tail = Tail(tail);
  call.write_new_gradient();
  run_on_cpu(call.problem);
  return {call.rows, call.totals, *call.grad};
}

}  // namespace
}  // namespace kdbench

STABLE_TORCH_LIBRARY_IMPL(kdbench, CPU, m) {
  m.impl("kl", TORCH_BOX(&kdbench::kl));
  m.impl("kl_", TORCH_BOX(&kdbench::kl_in_place));
  m.impl("hinton", TORCH_BOX(&kdbench::hinton));
  m.impl("hinton_", TORCH_BOX(&kdbench::hinton_in_place));
  m.impl("divergence", TORCH_BOX(&kdbench::divergence));
  m.impl("dkd", TORCH_BOX(&kdbench::dkd));
  m.impl("topk", TORCH_BOX(&kdbench::topk));
}
