// The emulator, as tests drive it: guarded memory, a device's shared memory, and what was launched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "problem.h"

namespace emulation {

// Memory that ends at a page that nobody may touch, but for less than 16 bytes that keep its beginning aligned; those,
// and 64 bytes before it, must stay as they are. `offset` bytes move the beginning off its alignment.
class Guarded {
 public:
  Guarded(size_t bytes, size_t offset);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void* data() const { return data_; }
  // All NaN, in every floating-point type.
  void poison();
  // Throws where something was written before or after.
  void check(const std::string& name) const;

 private:
  size_t bytes_, mapped_, pages_;
  uint8_t *map_, *data_;
};

struct Launched {
  unsigned blocks, threads;
  size_t shared;
};

// Shared memory of the emulated device: of a block, of a multiprocessor.
void set_shared_memory(int block, int multiprocessor);
std::vector<Launched> take_launches();

}  // namespace emulation
