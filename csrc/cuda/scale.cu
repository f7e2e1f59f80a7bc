#include "scale.cuh"

#include "launch.cuh"
#include "losses.h"

namespace kdbench::cuda {

namespace {

template <class T>
void scale(void* data, int64_t count, const void* factor, cudaStream_t stream) {
  constexpr int64_t kVectorsOfThread = 4, kBlocks = 16384;
  const int64_t wanted = count / (Element<T>::width * kVectorsOfThread * kScaleThreads) + 1;
  launch(scale_kernel<T>, std::min(kBlocks, wanted), kScaleThreads, 0, stream, static_cast<T*>(data), count,
         static_cast<const Acc<T>*>(factor));
}

}  // namespace

void run_scale(void* data, int64_t count, DType dtype, const void* factor, cudaStream_t stream) {
  if (count == 0) return;
  switch (dtype) {
    case DType::f32:
      return scale<float>(data, count, factor, stream);
    case DType::f64:
      return scale<double>(data, count, factor, stream);
    case DType::bf16:
      return scale<bf16>(data, count, factor, stream);
    case DType::f16:
      return scale<f16>(data, count, factor, stream);
  }
}

}  // namespace kdbench::cuda
