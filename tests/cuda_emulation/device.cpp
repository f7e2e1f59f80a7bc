// The emulated device: its memory, its limits, and a list of launches.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <stdexcept>
#include <utility>

#include "emulator.h"

namespace emulation {
namespace {

constexpr size_t kBefore = 64;
constexpr int kWithoutAsking = 48 * 1024;

int block_limit = 227 * 1024, multiprocessor_limit = 228 * 1024;
std::map<const void*, int> asked;
std::vector<Launched> launches;

size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

Guarded::Guarded(size_t bytes, size_t offset) : bytes_(bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t used = rounded(bytes + offset, 16);
  pages_ = rounded(used + kBefore, page);
  mapped_ = pages_ + page;
  void* const map = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED || mprotect(static_cast<uint8_t*>(map) + pages_, page, PROT_NONE) != 0) {
    throw std::runtime_error("no memory for the emulated device");
  }
  map_ = static_cast<uint8_t*>(map);
  data_ = map_ + pages_ - used + offset;
  std::memset(map_, 0xff, pages_);
}

Guarded::~Guarded() { munmap(map_, mapped_); }

void Guarded::poison() { std::memset(data_, 0xff, bytes_); }

void Guarded::check(const std::string& name) const {
  const uint8_t* const end = map_ + pages_;
  for (const uint8_t* byte = map_; byte < end; ++byte) {
    if (byte == data_) byte += bytes_;
    if (byte == end) break;
    if (*byte != 0xff) {
      throw std::runtime_error(name + ": written " + (byte < data_ ? "before its beginning" : "after its end"));
    }
  }
}

void set_shared_memory(int block, int multiprocessor) {
  block_limit = block;
  multiprocessor_limit = multiprocessor;
}

std::vector<Launched> take_launches() { return std::exchange(launches, {}); }

}  // namespace emulation

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? emulation::block_limit : emulation::multiprocessor_limit;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value > emulation::block_limit) return cudaErrorInvalidValue;
  emulation::asked[kernel] = value;
  return cudaSuccess;
}

// As a device would: no more shared memory than asked for, no more threads than a block may have.
cudaError_t emulated_launch_check(const cudaLaunchConfig_t& config, const void* kernel) {
  const auto found = emulation::asked.find(kernel);
  const int allowed = found == emulation::asked.end() ? emulation::kWithoutAsking : found->second;
  if (config.dynamicSmemBytes > static_cast<size_t>(allowed)) return cudaErrorInvalidValue;
  if (config.blockDim.x == 0 || config.blockDim.x > 1024 || config.gridDim.x == 0) return cudaErrorInvalidValue;
  emulation::launches.push_back({config.gridDim.x, config.blockDim.x, config.dynamicSmemBytes});
  return cudaSuccess;
}
