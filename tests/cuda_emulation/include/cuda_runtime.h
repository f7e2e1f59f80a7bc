// Host emulation of as much of CUDA as csrc/cuda uses: the same sources compile with a C++ compiler against this file in
// the place of the real one, and every thread of a block runs as a fiber. Finds wrong indices, missing reductions, tails,
// NaN handling and divergent barriers; finds neither races nor anything about speed.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define KDBENCH_CUDA_EMULATION 1
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Of the fiber that runs.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

template <class To, class From>
inline To emulated_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }

namespace emulation {

// Barriers and shuffles: the fiber waits until all that take part have come. What not all come to is an error.
void sync_threads();
void sync_warp(unsigned mask);
uint64_t shuffle_xor(unsigned mask, uint64_t value, int distance);
// Dynamic shared memory of the block; NaN, whatever the type, where nothing has been written.
uint4* shared_memory();
void launch(dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread);

}  // namespace emulation

inline void __syncthreads() { emulation::sync_threads(); }
inline void __syncwarp(unsigned mask = 0xffffffffU) { emulation::sync_warp(mask); }
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = emulation::shuffle_xor(mask, bits, distance);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned atomicOr(unsigned* address, unsigned value) {
  const unsigned old = *address;
  *address = old | value;
  return old;
}

using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1;
inline const char* cudaGetErrorString(cudaError_t) { return "invalid value (emulated)"; }

enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMaxSharedMemoryPerMultiprocessor };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};
cudaError_t emulated_launch_check(const cudaLaunchConfig_t& config, const void* kernel);
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments... arguments) {
  const cudaError_t status = emulated_launch_check(*config, reinterpret_cast<const void*>(kernel));
  if (status != cudaSuccess) return status;
  emulation::launch(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                    [=] { kernel(static_cast<Parameters>(arguments)...); });
  return cudaSuccess;
}
