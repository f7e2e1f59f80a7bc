// The emulated kernels over a grid of shapes, types and options, for the sanitizers: matrices of exactly their size on
// the heap, and at addresses that are multiples of an element alone. Checks KL against a plain loop in double.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../../csrc/cuda/losses.h"
#include "emulator.h"

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace {

using kdbench::DType;
using kdbench::Loss;

int failures = 0, calls = 0;

size_t size_of(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

// Numbers of a type, `skip` elements into memory that ends with the last of them.
class Matrix {
 public:
  Matrix(DType dtype, size_t count, size_t skip)
      : dtype_(dtype), count_(count), skip_(skip), bytes_(new char[(count + skip) * size_of(dtype)]) {}

  void* data() const { return bytes_.get() + skip_ * size_of(dtype_); }
  size_t count() const { return count_; }
  void put(size_t i, double value) {
    char* const at = static_cast<char*>(data()) + i * size_of(dtype_);
    const auto single = static_cast<float>(value);
    uint16_t half = 0;
    switch (dtype_) {
      case DType::f64:
        std::memcpy(at, &value, 8);
        return;
      case DType::f32:
        std::memcpy(at, &single, 4);
        return;
      case DType::bf16:
        half = __bfloat16_as_ushort(__float2bfloat16_rn(single));
        break;
      case DType::f16:
        half = __half_as_ushort(__float2half_rn(single));
        break;
    }
    std::memcpy(at, &half, 2);
  }
  double get(size_t i) const {
    const char* const at = static_cast<const char*>(data()) + i * size_of(dtype_);
    double wide;
    float single;
    uint16_t half;
    switch (dtype_) {
      case DType::f64:
        std::memcpy(&wide, at, 8);
        return wide;
      case DType::f32:
        std::memcpy(&single, at, 4);
        return single;
      case DType::bf16:
        std::memcpy(&half, at, 2);
        return __uint_as_float(static_cast<unsigned>(half) << 16);
      case DType::f16:
        std::memcpy(&half, at, 2);
        return __half2float(__ushort_as_half(half));
    }
    return 0;
  }
  void fill(std::mt19937& random) {
    std::normal_distribution<double> normal(0, 2);
    for (size_t i = 0; i < count_; ++i) put(i, normal(random));
  }

 private:
  DType dtype_;
  size_t count_, skip_;
  std::unique_ptr<char[]> bytes_;
};

double plain_kl(const Matrix& student, const Matrix& teacher, size_t row, size_t classes, double temperature) {
  double sum_s = 0, sum_t = 0, cross = 0;
  for (size_t i = row * classes; i < (row + 1) * classes; ++i) {
    const double s = student.get(i) / temperature, t = teacher.get(i) / temperature;
    sum_s += std::exp(s), sum_t += std::exp(t), cross += std::exp(t) * (t - s);
  }
  return cross / sum_t + std::log(sum_s) - std::log(sum_t);
}

void expect(bool holds, const char* what, const kdbench::Problem& problem) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "%s: loss %d, dtype %d, %lld x %lld\n", what, static_cast<int>(problem.loss),
               static_cast<int>(problem.dtype), static_cast<long long>(problem.rows),
               static_cast<long long>(problem.classes));
}

void run_one(Loss loss, DType dtype, size_t rows, size_t classes, size_t skip, int option, std::mt19937& random) {
  const DType acc = dtype == DType::f64 ? DType::f64 : DType::f32;
  const size_t terms = static_cast<size_t>(kdbench::terms(loss)), k = std::min<size_t>(classes, 5);
  Matrix student(dtype, rows * classes, skip), teacher(dtype, rows * (loss == Loss::topk ? k : classes), skip);
  Matrix grad(dtype, rows * classes, option == 2 ? 0 : skip), losses(acc, rows * terms, 0), totals(acc, terms == 2 ? 3 : 1, 0);
  Matrix weights(acc, classes, 0), temperatures(acc, rows, 0);
  student.fill(random);
  teacher.fill(random);
  std::unique_ptr<int64_t[]> labels(new int64_t[rows]), indices(new int64_t[rows * k]);
  for (size_t r = 0; r < rows; ++r) {
    labels[r] = static_cast<int64_t>(random() % classes);
    temperatures.put(r, 1 + static_cast<double>(r % 3));
    for (size_t j = 0; j < k; ++j) indices[r * k + j] = static_cast<int64_t>((r + j * (classes / k)) % classes);
  }
  for (size_t i = 0; i < classes; ++i) weights.put(i, 0.5 + static_cast<double>(i % 4));
  if (loss == Loss::topk && option == 1) {
    for (size_t i = 0; i < teacher.count(); ++i) teacher.put(i, 0.1);
  }

  kdbench::Problem problem;
  problem.loss = loss;
  problem.dtype = dtype;
  problem.rows = static_cast<int64_t>(rows);
  problem.classes = static_cast<int64_t>(classes);
  problem.student = student.data();
  problem.teacher = teacher.data();
  problem.row_losses = losses.data();
  problem.totals = totals.data();
  problem.labels = labels.get();
  problem.indices = indices.get();
  problem.k = static_cast<int64_t>(k);
  problem.temperature = 2;
  problem.alpha = 0.5;
  problem.beta = 0.5;
  problem.divergence = static_cast<kdbench::Divergence>(1 + option);
  if (option == 1) {
    problem.row_temperature = temperatures.data();
    problem.standardize = loss == Loss::kl || loss == Loss::hinton;
    problem.label_smoothing = 0.1;
    problem.class_weight = weights.data();
    if (loss == Loss::topk) problem.teacher_is = kdbench::TeacherIs::probs, problem.tail = kdbench::Tail::bucket;
  }
  std::vector<double> expected;
  for (size_t r = 0; loss == Loss::kl && option != 1 && r < rows; ++r) {
    expected.push_back(plain_kl(student, teacher, r, classes, 2));
  }
  problem.grad = option == 3 ? student.data() : grad.data();
  kdbench::cuda::run(problem, nullptr);
  ++calls;

  double total = 0;
  for (size_t i = 0; i < losses.count(); ++i) {
    expect(std::isfinite(losses.get(i)), "a loss is not finite", problem);
    total += losses.get(i);
  }
  const double got = terms == 2 ? totals.get(1) + totals.get(2) : totals.get(0);
  expect(std::fabs(got - total) <= 1e-5 * (1 + std::fabs(total)), "the total is not the rows' sum", problem);
  for (size_t r = 0; r < expected.size(); ++r) {
    expect(std::fabs(losses.get(r) - expected[r]) <= 1e-5 * (1 + expected[r]), "KL differs from a plain loop", problem);
  }
  const Matrix& written = option == 3 ? student : grad;
  for (size_t i = 0; i < written.count(); ++i) {
    if (std::isfinite(written.get(i))) continue;
    expect(false, "a gradient is not finite", problem);
    break;
  }
}

}  // namespace

int main() {
  std::mt19937 random(0);
  // The second: rows of more than a few hundred classes do not fit, and are read again.
  for (const bool little : {false, true}) {
    emulation::set_shared_memory(little ? 20 * 1024 : 227 * 1024, little ? 40 * 1024 : 228 * 1024);
    for (const size_t classes : {1, 3, 33, 129, 1001, 1501}) {
      if (little && classes < 1500) continue;
      for (const Loss loss : {Loss::kl, Loss::hinton, Loss::divergence, Loss::dkd, Loss::topk}) {
        for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
          for (int option = 0; option < 4; ++option) {
            run_one(loss, dtype, classes > 200 ? 2 : 9, classes, option % 2 == 0 ? 0 : 1, option, random);
          }
        }
      }
    }
  }
  std::printf("%d calls, %d failures\n", calls, failures);
  return failures == 0 ? 0 : 1;
}
