// The operators of registration.cpp, alike on every device: tensors to a problem, run, and its outputs back.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>

#include "tensors.h"

namespace kdbench {

// `run` computes a problem whose tensors are where the one given with it is.
template <void (*run)(const Problem&, const torch::stable::Tensor&)>
struct Operators {
  using Tensor = torch::stable::Tensor;
  using Optional = std::optional<Tensor>;
  using Outputs = std::tuple<Tensor, Tensor, Tensor>;

  static Outputs finish(Call& call, const Tensor& student) {
    call.write_new_gradient();
    run(call.problem, student);
    return {call.rows, call.totals, *call.grad};
  }

  static std::tuple<Tensor, Tensor> finish_in_place(Call& call, const Tensor& student) {
    call.problem.grad = student.mutable_data_ptr();
    run(call.problem, student);
    return {call.rows, call.totals};
  }

  static Call kl_call(const Tensor& student, const Tensor& teacher, double temperature, const Optional& row_temperature,
                      double scale, const Optional& row_scale, int64_t teacher_is, bool standardize) {
    STD_TORCH_CHECK(!standardize || teacher_is == 0, "kdbench: standardize needs the teacher's logits");
    Call call(Loss::kl, student, teacher, temperature, row_temperature, scale, row_scale);
    call.problem.teacher_is = TeacherIs(teacher_is);
    call.problem.standardize = standardize;
    return call;
  }

  static Outputs kl(const Tensor& student, const Tensor& teacher, double temperature, Optional row_temperature,
                    double scale, Optional row_scale, int64_t teacher_is, bool standardize) {
    Call call = kl_call(student, teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize);
    return finish(call, student);
  }

  static std::tuple<Tensor, Tensor> kl_in_place(const Tensor& student, const Tensor& teacher, double temperature,
                                                Optional row_temperature, double scale, Optional row_scale,
                                                int64_t teacher_is, bool standardize) {
    Call call = kl_call(student, teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize);
    return finish_in_place(call, student);
  }

  static Call hinton_call(const Tensor& student, const Tensor& teacher, const Tensor& labels, double temperature,
                          const Optional& row_temperature, double alpha, double scale, const Optional& row_scale,
                          double ce_scale, const Optional& ce_row_scale, double label_smoothing,
                          const Optional& class_weight, int64_t ignore_index, bool standardize) {
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

  static Outputs hinton(const Tensor& student, const Tensor& teacher, const Tensor& labels, double temperature,
                        Optional row_temperature, double alpha, double scale, Optional row_scale, double ce_scale,
                        Optional ce_row_scale, double label_smoothing, Optional class_weight, int64_t ignore_index,
                        bool standardize) {
    Call call = hinton_call(student, teacher, labels, temperature, row_temperature, alpha, scale, row_scale, ce_scale,
                            ce_row_scale, label_smoothing, class_weight, ignore_index, standardize);
    return finish(call, student);
  }

  static std::tuple<Tensor, Tensor> hinton_in_place(const Tensor& student, const Tensor& teacher, const Tensor& labels,
                                                    double temperature, Optional row_temperature, double alpha,
                                                    double scale, Optional row_scale, double ce_scale,
                                                    Optional ce_row_scale, double label_smoothing,
                                                    Optional class_weight, int64_t ignore_index, bool standardize) {
    Call call = hinton_call(student, teacher, labels, temperature, row_temperature, alpha, scale, row_scale, ce_scale,
                            ce_row_scale, label_smoothing, class_weight, ignore_index, standardize);
    return finish_in_place(call, student);
  }

  static Outputs divergence(const Tensor& student, const Tensor& teacher, int64_t kind, double beta, double temperature,
                            Optional row_temperature, double scale, Optional row_scale) {
    Call call(Loss::divergence, student, teacher, temperature, row_temperature, scale, row_scale);
    call.problem.divergence = Divergence(kind);
    call.problem.beta = beta;
    return finish(call, student);
  }

  static Outputs dkd(const Tensor& student, const Tensor& teacher, const Tensor& labels, double alpha, double beta,
                     double temperature, Optional row_temperature, double scale, Optional row_scale,
                     int64_t ignore_index) {
    Call call(Loss::dkd, student, teacher, temperature, row_temperature, scale, row_scale);
    call.problem.labels = call.integers(labels);
    call.problem.alpha = alpha;
    call.problem.beta = beta;
    call.problem.ignore_index = ignore_index;
    return finish(call, student);
  }

  static Outputs topk(const Tensor& student, const Tensor& teacher_values, const Tensor& teacher_indices,
                      double temperature, Optional row_temperature, double scale, Optional row_scale,
                      int64_t values_are, int64_t tail) {
    Call call(Loss::topk, student, teacher_values, temperature, row_temperature, scale, row_scale);
    call.problem.indices = call.integers(teacher_indices);
    call.problem.k = teacher_indices.size(1);
    STD_TORCH_CHECK(teacher_values.size(1) == call.problem.k, "kdbench: listed values and indices differ in number");
    call.problem.teacher_is = TeacherIs(values_are);
    call.problem.tail = Tail(tail);
    return finish(call, student);
  }

  static void add_to(torch::stable::detail::StableLibrary& m) {
    m.impl("kl", TORCH_BOX(&Operators::kl));
    m.impl("kl_", TORCH_BOX(&Operators::kl_in_place));
    m.impl("hinton", TORCH_BOX(&Operators::hinton));
    m.impl("hinton_", TORCH_BOX(&Operators::hinton_in_place));
    m.impl("divergence", TORCH_BOX(&Operators::divergence));
    m.impl("dkd", TORCH_BOX(&Operators::dkd));
    m.impl("topk", TORCH_BOX(&Operators::topk));
  }
};

}  // namespace kdbench
