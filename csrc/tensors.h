// From the operators' tensors to a problem: what the back ends of all devices do alike.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "problem.h"

namespace kdbench {

inline DType dtype_of(const torch::stable::Tensor& tensor) {
  using torch::headeronly::ScalarType;
  switch (tensor.scalar_type()) {
    case ScalarType::Float: return DType::f32;
    case ScalarType::Double: return DType::f64;
    case ScalarType::BFloat16: return DType::bf16;
    case ScalarType::Half: return DType::f16;
    default: STD_TORCH_CHECK(false, "kdbench: logits must be float32, float64, bfloat16 or float16");
  }
}

// A problem with its output tensors. The Python layer has checked the arguments; here only what would read or write
// outside of memory is checked again, because operators can be called without it.
struct Call {
  Problem problem;
  torch::stable::Tensor rows, totals;
  std::optional<torch::stable::Tensor> grad;

  Call(Loss loss, const torch::stable::Tensor& student, const torch::stable::Tensor& teacher, double temperature,
       const std::optional<torch::stable::Tensor>& row_temperature, double scale,
       const std::optional<torch::stable::Tensor>& row_scale)
      : rows(output(student, loss, true)), totals(output(student, loss, false)), student_(student) {
    STD_TORCH_CHECK(student.dim() == 2 && student.is_contiguous(), "kdbench: student must be a dense matrix (N, V)");
    STD_TORCH_CHECK(teacher.dim() == 2 && teacher.is_contiguous(), "kdbench: teacher must be a dense matrix");
    STD_TORCH_CHECK(teacher.size(0) == student.size(0), "kdbench: student and teacher differ in rows");
    STD_TORCH_CHECK(loss == Loss::topk || teacher.size(1) == student.size(1),
                    "kdbench: student and teacher differ in classes");
    problem.loss = loss;
    problem.dtype = dtype_of(student);
    STD_TORCH_CHECK(dtype_of(teacher) == problem.dtype, "kdbench: student and teacher differ in dtype");
    problem.rows = student.size(0);
    problem.classes = student.size(1);
    problem.student = student.const_data_ptr();
    problem.teacher = teacher.const_data_ptr();
    problem.temperature = temperature;
    problem.row_temperature = optional(row_temperature);
    problem.scale = scale;
    problem.row_scale = optional(row_scale);
    problem.row_losses = rows.mutable_data_ptr();
    problem.totals = totals.mutable_data_ptr();
  }

  void write_new_gradient() {
    grad = torch::stable::empty_like(student_);
    problem.grad = grad->mutable_data_ptr();
  }

  // One value a row or a class, in the type that is computed in.
  const void* optional(const std::optional<torch::stable::Tensor>& values) const {
    if (!values) return nullptr;
    STD_TORCH_CHECK(values->is_contiguous() && values->scalar_type() == rows.scalar_type(),
                    "kdbench: factors, temperatures and weights must be dense and float32 (float64 for float64 logits)");
    STD_TORCH_CHECK(values->numel() == problem.rows || values->numel() == problem.classes,
                    "kdbench: one value for each row, or for each class");
    return values->const_data_ptr();
  }

  const int64_t* integers(const torch::stable::Tensor& values) const {
    STD_TORCH_CHECK(values.is_contiguous() && values.scalar_type() == torch::headeronly::ScalarType::Long,
                    "kdbench: labels and indices must be dense and int64");
    STD_TORCH_CHECK(values.size(0) == problem.rows, "kdbench: labels or indices differ from the logits in rows");
    return static_cast<const int64_t*>(values.const_data_ptr());
  }

 private:
  static torch::stable::Tensor output(const torch::stable::Tensor& student, Loss loss, bool rows) {
    using torch::headeronly::ScalarType;
    const auto type = student.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
    const int64_t count = terms(loss);
    if (rows) return torch::stable::new_empty(student, {student.size(0), count}, type);
    return torch::stable::new_empty(student, {count == 1 ? 1 : 3}, type);
  }

  torch::stable::Tensor student_;
};

}  // namespace kdbench
