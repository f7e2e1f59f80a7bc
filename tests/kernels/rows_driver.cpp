// Runs the row kernels of one instruction set over exactly allocated arrays, so that a sanitizer sees every step outside.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cpu/rows.h"

namespace {

using namespace kdbench;

double uniform() { return std::rand() / double(RAND_MAX) * 4 - 2; }

template <class A>
std::vector<A> numbers(int64_t count) {
  std::vector<A> values(count);
  for (A& value : values) value = A(uniform());
  return values;
}

template <class Logit, class A>
void run(Loss loss, DType dtype, int64_t rows, int64_t classes, int option) {
  std::vector<Logit> student(rows * classes), teacher, grad(rows * classes);
  Problem problem;
  problem.loss = loss;
  problem.dtype = dtype;
  problem.rows = rows;
  problem.classes = classes;
  problem.temperature = 4;
  problem.alpha = 0.5;
  problem.beta = 0.3;
  problem.k = classes < 5 ? classes : 5;
  teacher.resize(loss == Loss::topk ? rows * problem.k : rows * classes);
  for (auto* values : {&student, &teacher}) {
    for (Logit& value : *values) {
      if (sizeof(Logit) == sizeof(A)) {
        value = Logit(uniform());
      } else {
        value = Logit(0x3c00 + std::rand() % 256);  // about 1 as bfloat16 and as float16
      }
    }
  }
  std::vector<A> losses(rows * 2), temperatures = numbers<A>(rows), scales = numbers<A>(rows);
  for (A& one : temperatures) one = std::abs(one) + A(0.5);
  std::vector<int64_t> labels(rows), indices(rows * problem.k);
  for (int64_t r = 0; r < rows; ++r) {
    labels[r] = r % 3 == 2 ? -100 : (r % 5 == 4 ? classes : std::rand() % classes);
    for (int64_t j = 0; j < problem.k; ++j) indices[r * problem.k + j] = j == 1 ? -1 : (r + j) % classes;
  }
  std::vector<A> weights = numbers<A>(classes);
  problem.student = student.data();
  problem.teacher = teacher.data();
  problem.grad = option == 4 ? nullptr : option == 5 ? static_cast<void*>(student.data()) : grad.data();
  problem.row_losses = losses.data();
  problem.labels = labels.data();
  problem.indices = indices.data();
  if (option == 1) {
    problem.row_temperature = temperatures.data();
    problem.row_scale = scales.data();
    scales[0] = 0;
  }
  if (option == 2) {
    problem.standardize = loss == Loss::kl || loss == Loss::hinton;
    problem.tail = Tail::bucket;
    problem.teacher_is = loss == Loss::topk ? TeacherIs::probs : TeacherIs::logits;
    problem.label_smoothing = 0.1;
    problem.class_weight = weights.data();
  }
  if (option == 3) problem.teacher_is = loss == Loss::kl ? TeacherIs::log_probs : TeacherIs::logits;
  problem.divergence = Divergence(option);
  run_rows_native(problem, 0, rows);
}

}  // namespace

int main() {
  int problems = 0;
  for (int loss = 0; loss < 5; ++loss) {
    for (int64_t classes : {1, 2, 7, 15, 16, 17, 31, 100, 1023, 1025, 2047, 2049, 4100}) {
      for (int option = 0; option < 6; ++option, problems += 4) {
        run<float, float>(Loss(loss), DType::f32, 7, classes, option);
        run<double, double>(Loss(loss), DType::f64, 7, classes, option);
        run<uint16_t, float>(Loss(loss), DType::bf16, 7, classes, option);
        run<uint16_t, float>(Loss(loss), DType::f16, 7, classes, option);
      }
    }
  }
  std::printf("%d problems\n", problems);
}
