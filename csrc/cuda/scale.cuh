// The gradient times the upstream gradient, a number on the device: nothing is read or written where it is 1.
#pragma once

#include "elements.cuh"

namespace kdbench::cuda {

constexpr int kScaleThreads = 256;

template <class T>
__global__ void __launch_bounds__(kScaleThreads) scale_kernel(T* data, int64_t count, const Acc<T>* factor) {
  constexpr int W = Element<T>::width;
  const Acc<T> by = *factor;
  if (by == Acc<T>(1)) return;
  const auto shift = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data) % 16 / sizeof(T));
  const int64_t vectors = (shift + count + W - 1) / W;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t v = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; v < vectors; v += step) {
    const int64_t first = v * W - shift;
    if (first >= 0 && first + W <= count) {
      Lanes<T> x;
      unpack<T>(*reinterpret_cast<const uint4*>(data + first), x);
#pragma unroll
      for (int i = 0; i < W; ++i) x[i] *= by;
      *reinterpret_cast<uint4*>(data + first) = pack<T>(x);
      continue;
    }
    for (int64_t i = first < 0 ? 0 : first; i < first + W && i < count; ++i) narrow(widen(data[i]) * by, data[i]);
  }
}

}  // namespace kdbench::cuda
