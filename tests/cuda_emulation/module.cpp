// The emulated kernels for Python: arrays in, guarded copies to the "device", run, and what was written comes back.
#include <pybind11/pybind11.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "../../csrc/cuda/losses.h"
#include "emulator.h"

namespace py = pybind11;

namespace {

using Memory = std::map<std::string, std::unique_ptr<emulation::Guarded>>;

// Copies to the device; `offsets` are bytes by which an array's beginning is off its alignment.
void* upload(Memory& memory, const std::string& name, const py::object& array, const py::dict& offsets) {
  if (array.is_none()) return nullptr;
  const py::buffer_info info = py::buffer(array).request();
  const auto bytes = static_cast<size_t>(info.size * info.itemsize);
  const size_t offset = offsets.contains(name) ? offsets[py::str(name)].cast<size_t>() : 0;
  auto& place = memory[name] = std::make_unique<emulation::Guarded>(bytes, offset);
  if (bytes != 0) std::memcpy(place->data(), info.ptr, bytes);
  return place->data();
}

void download(const Memory& memory, const std::string& name, const py::object& array) {
  const py::buffer_info info = py::buffer(array).request(true);
  const auto bytes = static_cast<size_t>(info.size * info.itemsize);
  if (bytes != 0) std::memcpy(info.ptr, memory.at(name)->data(), bytes);
}

kdbench::Problem problem_of(const py::dict& numbers) {
  const auto number = [&](const char* name) { return numbers[name]; };
  kdbench::Problem problem;
  problem.loss = static_cast<kdbench::Loss>(number("loss").cast<int>());
  problem.dtype = static_cast<kdbench::DType>(number("dtype").cast<int>());
  problem.rows = number("rows").cast<int64_t>();
  problem.classes = number("classes").cast<int64_t>();
  problem.temperature = number("temperature").cast<double>();
  problem.scale = number("scale").cast<double>();
  problem.teacher_is = static_cast<kdbench::TeacherIs>(number("teacher_is").cast<int>());
  problem.standardize = number("standardize").cast<bool>();
  problem.ignore_index = number("ignore_index").cast<int64_t>();
  problem.alpha = number("alpha").cast<double>();
  problem.beta = number("beta").cast<double>();
  problem.ce_scale = number("ce_scale").cast<double>();
  problem.label_smoothing = number("label_smoothing").cast<double>();
  problem.divergence = static_cast<kdbench::Divergence>(number("divergence").cast<int>());
  problem.k = number("k").cast<int64_t>();
  problem.tail = static_cast<kdbench::Tail>(number("tail").cast<int>());
  return problem;
}

// arrays: the pointers of Problem by name; grad may be "student" for a gradient in place.
void run(const py::dict& numbers, const py::dict& arrays, const py::dict& offsets) {
  kdbench::Problem problem = problem_of(numbers);
  Memory memory;
  const auto given = [&](const char* name) -> py::object {
    return arrays.contains(name) ? py::object(arrays[name]) : py::none();
  };
  const auto put = [&](const char* name) { return upload(memory, name, given(name), offsets); };
  problem.student = put("student");
  problem.teacher = put("teacher");
  problem.row_losses = put("row_losses");
  problem.totals = put("totals");
  problem.row_temperature = put("row_temperature");
  problem.row_scale = put("row_scale");
  problem.labels = static_cast<const int64_t*>(put("labels"));
  problem.ce_row_scale = put("ce_row_scale");
  problem.class_weight = put("class_weight");
  problem.indices = static_cast<const int64_t*>(put("indices"));
  const py::object grad = given("grad");
  const bool in_place = py::isinstance<py::str>(grad);
  problem.grad = in_place ? memory.at("student")->data() : put("grad");
  kdbench::cuda::run(problem, nullptr);
  for (const auto& [name, place] : memory) place->check(name);
  for (const char* name : {"row_losses", "totals"}) download(memory, name, given(name));
  if (in_place) download(memory, "student", given("student"));
  if (!in_place && !grad.is_none()) download(memory, "grad", grad);
}

void scale(const py::object& data, int dtype, int64_t count, const py::object& factor, size_t offset) {
  Memory memory;
  py::dict offsets;
  offsets["data"] = offset;
  void* const on_device = upload(memory, "data", data, offsets);
  const void* const by = upload(memory, "factor", factor, offsets);
  kdbench::cuda::run_scale(on_device, count, static_cast<kdbench::DType>(dtype), by, nullptr);
  for (const auto& [name, place] : memory) place->check(name);
  download(memory, "data", data);
}

// The loss of KL between the last of `rows` rows of bfloat16, all others of weight 0, in matrices that are only there
// where they are read: for more elements than 2^31.
float last_row(int64_t rows, const py::buffer& student, const py::buffer& teacher) {
  const py::buffer_info s = student.request(), t = teacher.request();
  const size_t row = static_cast<size_t>(s.size) * 2, bytes = static_cast<size_t>(rows) * row;
  const auto far = [&](const void* values) {
    void* const map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) throw std::runtime_error("no address space for the matrices");
    std::memcpy(static_cast<char*>(map) + bytes - row, values, row);
    return map;
  };
  kdbench::Problem problem;
  problem.dtype = kdbench::DType::bf16;
  problem.rows = rows;
  problem.classes = s.size;
  problem.student = far(s.ptr);
  problem.teacher = far(t.ptr);
  std::vector<float> weights(rows, 0.0F), losses(rows, -1.0F), totals(1);
  weights.back() = 1;
  problem.row_scale = weights.data();
  problem.row_losses = losses.data();
  problem.totals = totals.data();
  kdbench::cuda::run(problem, nullptr);
  munmap(const_cast<void*>(problem.student), bytes);
  munmap(const_cast<void*>(problem.teacher), bytes);
  for (int64_t i = 0; i + 1 < rows; ++i) {
    if (losses[i] != 0) throw std::runtime_error("a row of weight 0 has a loss");
  }
  return totals[0];
}

py::list launches() {
  py::list list;
  for (const auto& one : emulation::take_launches()) list.append(py::make_tuple(one.blocks, one.threads, one.shared));
  return list;
}

// Kernels that must be refused, for tests of the emulator itself.
void diverge(const std::string& how) {
  emulation::launch(dim3(1), dim3(64), 64, [&] {
    const unsigned i = threadIdx.x;
    if (how == "barrier" && i != 3) __syncthreads();
    if (how == "shuffle" && i != 40) __shfl_xor_sync(0xffffffffU, i, 1);
    if (how == "distance") __shfl_xor_sync(0xffffffffU, i, i < 8 ? 1 : 2);
    if (how == "mixed") i % 2 ? __syncthreads() : __syncwarp();
    if (how == "shared" && i == 0) reinterpret_cast<uint8_t*>(emulation::shared_memory())[-1] = 0;
  });
}

// Each thread's sum of its warp's indices, by shuffles, and what shared memory holds before it is written.
py::tuple emulated_sum(unsigned threads) {
  std::vector<unsigned> sums(threads);
  float fresh = 0;
  emulation::launch(dim3(1), dim3(threads), 64, [&] {
    if (threadIdx.x == 0) fresh = reinterpret_cast<float*>(emulation::shared_memory())[3];
    unsigned sum = threadIdx.x;
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, distance);
    sums[threadIdx.x] = sum;
  });
  py::list list;
  for (const unsigned sum : sums) list.append(sum);
  return py::make_tuple(list, fresh);
}

}  // namespace

PYBIND11_MODULE(_cuda_emulated, m) {
  m.def("run", &run, py::arg("numbers"), py::arg("arrays"), py::arg("offsets") = py::dict());
  m.def("scale", &scale);
  m.def("set_shared_memory", &emulation::set_shared_memory);
  m.def("last_row", &last_row);
  m.def("launches", &launches);
  m.def("diverge", &diverge);
  m.def("emulated_sum", &emulated_sum);
}
