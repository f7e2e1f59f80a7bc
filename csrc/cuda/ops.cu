// The operators on CUDA tensors: the device and the current stream of the student, and nothing waited for.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "../operators.h"
#include "losses.h"

namespace kdbench {
namespace {

using torch::stable::Tensor;

cudaStream_t current_stream(const Tensor& on) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(on.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

void run_on_gpu(const Problem& problem, const Tensor& on) {
  const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
  cuda::run(problem, current_stream(on));
}

void scale(const Tensor& grad, const Tensor& factor) {
  STD_TORCH_CHECK(grad.is_contiguous(), "kdbench: a gradient to scale must be dense");
  const DType dtype = dtype_of(grad);
  STD_TORCH_CHECK(factor.numel() == 1 && dtype_of(factor) == (dtype == DType::f64 ? DType::f64 : DType::f32),
                  "kdbench: the factor must be one float32 number (float64 for a float64 gradient)");
  STD_TORCH_CHECK(factor.is_cuda() && factor.get_device_index() == grad.get_device_index(),
                  "kdbench: the factor must be on the gradient's device");
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  cuda::run_scale(grad.mutable_data_ptr(), grad.numel(), dtype, factor.const_data_ptr(), current_stream(grad));
}

}  // namespace
}  // namespace kdbench

STABLE_TORCH_LIBRARY_IMPL(kdbench, CUDA, m) {
  kdbench::Operators<&kdbench::run_on_gpu>::add_to(m);
  m.impl("scale_", TORCH_BOX(&kdbench::scale));
}
