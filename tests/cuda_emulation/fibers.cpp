// Blocks one after the other; the threads of a block as fibers, each running until it waits for others.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "emulator.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulation {
namespace {

constexpr size_t kStack = 256 * 1024;
constexpr unsigned kWarp = 32;

enum class Waits { no, block, warp, ended };

// What a fiber waits in; lanes of a warp must wait in the same.
struct Meeting {
  const char* name = "";
  int distance = 0;
  bool operator==(const Meeting& other) const { return name == other.name && distance == other.distance; }
};

struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool started = false;
  Waits waits = Waits::no;
  Meeting meeting;
  unsigned met = 0;  // meetings of its warp so far
  void* sanitizer = nullptr;
};

struct Warp {
  uint64_t values[2][kWarp] = {};
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
char* stacks = nullptr;
#if defined(__SANITIZE_ADDRESS__)
ucontext_t scheduler;
void* scheduler_sanitizer = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;
#else
jmp_buf scheduler_place;
#endif
unsigned current = 0;
const std::function<void()>* body = nullptr;
std::string failure;
uint4* shared = nullptr;

// swapcontext alone would do: it makes a system call each time, and address sanitizer must be told of each switch.
void to_scheduler() {
  Fiber& fiber = fibers[current];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fiber.waits == Waits::ended ? nullptr : &fiber.sanitizer, scheduler_stack,
                                 scheduler_stack_size);
  swapcontext(&fiber.context, &scheduler);
  __sanitizer_finish_switch_fiber(fiber.sanitizer, nullptr, nullptr);
#else
  if (_setjmp(fiber.place) == 0) _longjmp(scheduler_place, 1);
#endif
}

void enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  try {
    (*body)();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  fibers[current].waits = Waits::ended;
  to_scheduler();
  abort();
}

void start(unsigned index) {
  ucontext_t& context = fibers[index].context;
  char* const stack = stacks + index * kStack;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStack);
#endif
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
}

void resume(unsigned index) {
  current = index;
  threadIdx = {index, 0, 0};
#if defined(__SANITIZE_ADDRESS__)
  if (!std::exchange(fibers[index].started, true)) start(index);
  __sanitizer_start_switch_fiber(&scheduler_sanitizer, stacks + index * kStack, kStack);
  swapcontext(&scheduler, &fibers[index].context);
  __sanitizer_finish_switch_fiber(scheduler_sanitizer, nullptr, nullptr);
#else
  if (_setjmp(scheduler_place) != 0) return;
  if (std::exchange(fibers[current].started, true)) _longjmp(fibers[current].place, 1);
  start(current);
  setcontext(&fibers[current].context);
#endif
}

void wait(Waits waits, const Meeting& meeting) {
  Fiber& fiber = fibers[current];
  fiber.waits = waits;
  fiber.meeting = meeting;
  to_scheduler();
}

[[noreturn]] void diverged(unsigned threads, const char* what) {
  std::ostringstream message;
  message << what << ", block " << blockIdx.x << ":";
  const Fiber* last = nullptr;
  for (unsigned i = 0; i < threads; ++i) {
    const Fiber& fiber = fibers[i];
    if (last != nullptr && last->waits == fiber.waits && last->meeting == fiber.meeting) continue;
    last = &fiber;
    message << " thread " << i;
    if (fiber.waits == Waits::ended) {
      message << " has ended;";
    } else {
      message << " waits in " << fiber.meeting.name << " " << fiber.meeting.distance << ";";
    }
  }
  throw std::runtime_error(message.str());
}

// Let the lanes of a warp go on if all have come to the same meeting.
bool meet_in_warp(unsigned warp, unsigned threads) {
  const unsigned first = warp * kWarp, end = std::min(first + kWarp, threads);
  unsigned waiting = 0, in_block = 0;
  for (unsigned i = first; i < end; ++i) {
    waiting += fibers[i].waits == Waits::warp;
    in_block += fibers[i].waits == Waits::block;
  }
  if (waiting == 0) return false;
  if (waiting != end - first) {
    if (in_block + waiting == end - first) diverged(threads, "lanes of a warp wait for each other in different places");
    return false;
  }
  for (unsigned i = first; i < end; ++i) {
    if (!(fibers[i].meeting == fibers[first].meeting)) diverged(threads, "lanes of a warp meet in different places");
  }
  for (unsigned i = first; i < end; ++i) fibers[i].waits = Waits::no;
  return true;
}

void run_block(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) {
    fibers[i].started = false;
    fibers[i].waits = Waits::no;
    fibers[i].met = 0;
  }
  while (true) {
    bool ran = false;
    // Warp after warp, each as far as it comes: order is free, and this one keeps a warp's data in the cache.
    for (unsigned warp = 0; warp * kWarp < threads; ++warp) {
      do {
        for (unsigned i = warp * kWarp; i < std::min((warp + 1) * kWarp, threads); ++i) {
          if (fibers[i].waits != Waits::no) continue;
          resume(i);
          ran = true;
          if (!failure.empty()) throw std::runtime_error(failure);
        }
      } while (meet_in_warp(warp, threads));
    }
    unsigned ended = 0, in_block = 0;
    for (unsigned i = 0; i < threads; ++i) {
      ended += fibers[i].waits == Waits::ended;
      in_block += fibers[i].waits == Waits::block;
    }
    if (ended == threads) return;
    if (in_block == threads - ended && in_block > 0) {
      if (ended > 0) diverged(threads, "a barrier that ended threads never came to");
      for (unsigned i = 0; i < threads; ++i) fibers[i].waits = Waits::no;
      continue;
    }
    if (!ran) diverged(threads, "threads wait for others that do not come");
  }
}

}  // namespace

uint4* shared_memory() { return shared; }

void sync_threads() { wait(Waits::block, {"__syncthreads", 0}); }

void sync_warp(unsigned mask) {
  if (mask != 0xffffffffU) throw std::runtime_error("only whole warps are emulated");
  wait(Waits::warp, {"__syncwarp", 0});
}

uint64_t shuffle_xor(unsigned mask, uint64_t value, int distance) {
  if (mask != 0xffffffffU) throw std::runtime_error("only whole warps are emulated");
  Fiber& fiber = fibers[current];
  const unsigned lane = current % kWarp, partner = lane ^ static_cast<unsigned>(distance);
  if (partner >= kWarp) throw std::runtime_error("a shuffle reaches beyond its warp");
  // Two sets of values: a lane may come to the next meeting before others have read what was left in this one.
  uint64_t* const values = warps[current / kWarp].values[fiber.met++ % 2];
  values[lane] = value;
  wait(Waits::warp, {"__shfl_xor_sync", distance});
  return values[partner];
}

void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  const unsigned threads = block.x;
  if (block.y != 1 || block.z != 1 || grid.y != 1 || grid.z != 1) throw std::runtime_error("one dimension is emulated");
  if (threads % kWarp != 0) throw std::runtime_error("blocks of whole warps are emulated");
  if (fibers.size() < threads) {
    fibers.resize(threads);
    warps.resize(threads / kWarp + 1);
    free(stacks);
    stacks = static_cast<char*>(aligned_alloc(4096, threads * kStack));
  }
  gridDim = grid;
  blockDim = block;
  body = &thread;
  failure.clear();
  Guarded memory(shared_bytes, 0);
  shared = static_cast<uint4*>(memory.data());
  for (unsigned b = 0; b < grid.x; ++b) {
    blockIdx = {b, 0, 0};
    memory.poison();
    run_block(threads);
    memory.check("shared memory");
  }
  shared = nullptr;
}

}  // namespace emulation
