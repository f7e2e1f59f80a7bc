// The operators: their schemas, in one place. Implementations register apart, one file for each device.
//
// student is (N, V), dense; rows, totals and every *_scale, *_weight and row_temperature are float32, or float64 where
// the student is. A trailing underscore: the gradient overwrites the student's logits. Each returns the rows' losses (N, terms), the totals and the gradient of totals[0] by the student.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(kdbench, m) {
  m.def(
      "kl(Tensor student, Tensor teacher, float temperature, Tensor? row_temperature, float scale, Tensor? row_scale, "
      "int teacher_is, bool standardize) -> (Tensor rows, Tensor totals, Tensor grad)");
  m.def(
      "kl_(Tensor(a!) student, Tensor teacher, float temperature, Tensor? row_temperature, float scale, "
      "Tensor? row_scale, int teacher_is, bool standardize) -> (Tensor rows, Tensor totals)");
  m.def(
      "hinton(Tensor student, Tensor teacher, Tensor labels, float temperature, Tensor? row_temperature, float alpha, "
      "float scale, Tensor? row_scale, float ce_scale, Tensor? ce_row_scale, float label_smoothing, "
      "Tensor? class_weight, int ignore_index, bool standardize) -> (Tensor rows, Tensor totals, Tensor grad)");
  m.def(
      "hinton_(Tensor(a!) student, Tensor teacher, Tensor labels, float temperature, Tensor? row_temperature, "
      "float alpha, float scale, Tensor? row_scale, float ce_scale, Tensor? ce_row_scale, float label_smoothing, "
      "Tensor? class_weight, int ignore_index, bool standardize) -> (Tensor rows, Tensor totals)");
  m.def(
      "divergence(Tensor student, Tensor teacher, int kind, float beta, float temperature, Tensor? row_temperature, "
      "float scale, Tensor? row_scale) -> (Tensor rows, Tensor totals, Tensor grad)");
  m.def(
      "dkd(Tensor student, Tensor teacher, Tensor labels, float alpha, float beta, float temperature, "
      "Tensor? row_temperature, float scale, Tensor? row_scale, int ignore_index) "
      "-> (Tensor rows, Tensor totals, Tensor grad)");
  m.def(
      "topk(Tensor student, Tensor teacher_values, Tensor teacher_indices, float temperature, Tensor? row_temperature, "
      "float scale, Tensor? row_scale, int values_are, int tail) -> (Tensor rows, Tensor totals, Tensor grad)");
  // grad *= factor, one number on the same device; leaves grad alone where that is 1, without asking the device.
  m.def("scale_(Tensor(a!) grad, Tensor factor) -> ()");
}
