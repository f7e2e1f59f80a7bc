// The threads that share a row, and their sums and maxima: every thread gets the same bits, in a fixed order.
#pragma once

#include <cstdint>

#include "elements.cuh"

namespace kdbench::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffU;
constexpr int kMostSums = 8;

// What a launch decides for all rows; see plan.cuh.
struct Plan {
  int threads = 0;        // of a block
  int lanes = 0;          // threads of a row
  int held = 0;           // vectors of each row that a block keeps in shared memory
  int words = 0;          // 32-bit words of a row's bitmap (topk)
  int64_t shared = 0;     // bytes of a block
  int64_t blocks = 0;
};

struct Add {
  template <class A>
  __device__ static A none() {
    return A(0);
  }
  template <class A>
  __device__ static A of(A a, A b) {
    return a + b;
  }
};
struct Max {
  template <class A>
  __device__ static A none() {
    return Limits<A>::lowest;
  }
  template <class A>
  __device__ static A of(A a, A b) {
    return larger(a, b);
  }
};

// A power of two of lanes of one warp. All lanes of the warp take part in every call, whatever their row.
template <class A>
class WarpGroup {
 public:
  __device__ WarpGroup(const Plan& plan, A*) : lanes_(plan.lanes) {}

  __device__ int lanes() const { return lanes_; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) & (lanes_ - 1); }
  __device__ int in_block() const { return static_cast<int>(threadIdx.x) / lanes_; }
  // Rows of a warp are neighbours: `base` is the same for all of its lanes.
  __device__ int64_t base() const { return static_cast<int64_t>(blockIdx.x) * per_block() + warp() * per_warp(); }
  __device__ int64_t row(int64_t base) const { return base + in_block() % per_warp(); }
  __device__ int64_t stride() const { return static_cast<int64_t>(gridDim.x) * per_block(); }
  __device__ void sync() const { __syncwarp(); }

  template <class Op, int K>
  __device__ void reduce(A (&values)[K]) {
    for (int distance = lanes_ / 2; distance > 0; distance /= 2) {
#pragma unroll
      for (int k = 0; k < K; ++k) values[k] = Op::of(values[k], __shfl_xor_sync(kAll, values[k], distance));
    }
  }

 private:
  __device__ int warp() const { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ int per_warp() const { return kWarp / lanes_; }
  __device__ int64_t per_block() const { return static_cast<int>(blockDim.x) / lanes_; }

  int lanes_;
};

// A whole block. `scratch` holds 2 * kMostSums * kWarp numbers: two stages, so that one barrier a reduction is enough.
template <class A>
class BlockGroup {
 public:
  __device__ BlockGroup(const Plan&, A* scratch) : scratch_(scratch) {}

  __device__ int lanes() const { return static_cast<int>(blockDim.x); }
  __device__ int lane() const { return static_cast<int>(threadIdx.x); }
  __device__ int in_block() const { return 0; }
  __device__ int64_t base() const { return blockIdx.x; }
  __device__ int64_t row(int64_t base) const { return base; }
  __device__ int64_t stride() const { return gridDim.x; }
  __device__ void sync() const { __syncthreads(); }

  template <class Op, int K>
  __device__ void reduce(A (&values)[K]) {
    static_assert(K <= kMostSums, "scratch is too small");
    in_warp<Op>(values);
    const int warp = lane() / kWarp, warps = lanes() / kWarp, place = lane() % kWarp;
    A* const partial = scratch_ + stage_ * kMostSums * kWarp;
    stage_ ^= 1;
    if (place == 0) {
#pragma unroll
      for (int k = 0; k < K; ++k) partial[k * kWarp + warp] = values[k];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < K; ++k) values[k] = place < warps ? partial[k * kWarp + place] : Op::template none<A>();
    in_warp<Op>(values);
  }

 private:
  template <class Op, int K>
  __device__ static void in_warp(A (&values)[K]) {
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
#pragma unroll
      for (int k = 0; k < K; ++k) values[k] = Op::of(values[k], __shfl_xor_sync(kAll, values[k], distance));
    }
  }

  A* scratch_;
  int stage_ = 0;
};

}  // namespace kdbench::cuda
