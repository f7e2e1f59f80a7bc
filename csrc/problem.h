// One distillation loss over the rows of a batch of logits, as every back end receives it.
//
// Plain data: it includes nothing of torch, so that the row kernels compile and run without it.
#pragma once

#include <cstdint>

namespace kdbench {

enum class DType : int32_t { f32 = 0, f64 = 1, bf16 = 2, f16 = 3 };

enum class Loss : int32_t { kl = 0, hinton = 1, divergence = 2, dkd = 3, topk = 4 };

// What the teacher tensor holds (kl), or its listed values (topk). Probabilities are those at the temperature.
enum class TeacherIs : int32_t { logits = 0, log_probs = 1, probs = 2 };

enum class Divergence : int32_t { forward_kl = 0, reverse_kl = 1, js = 2, skew_kl = 3, skew_reverse_kl = 4, tvd = 5 };

// Where the teacher lists k of V classes: compare over those k alone, or with all others as one more class.
enum class Tail : int32_t { renormalize = 0, bucket = 1 };

// Sizes and pointers of one call. Matrices are row-major and dense: row r of the student begins at r * classes.
// "acc" is float, or double where dtype is f64. Null pointers mean "not given" where a field says optional.
struct Problem {
  Loss loss = Loss::kl;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t classes = 0;

  const void* student = nullptr;  // (rows, classes) of dtype
  const void* teacher = nullptr;  // (rows, classes) of dtype; topk: (rows, k)
  void* grad = nullptr;           // (rows, classes) of dtype; may be the student's own memory; optional
  void* row_losses = nullptr;     // (rows, terms) of acc; terms: hinton 2 (ce, kd), dkd 2 (target, non-target), else 1
  void* totals = nullptr;         // hinton, dkd: 3 of acc (loss, and the two terms); else 1

  double temperature = 1;                 // T > 0
  const void* row_temperature = nullptr;  // (rows) of acc, used instead of temperature; optional

  // Row r's loss and gradient are multiplied by scale * row_scale[r]: reduction, T^2, weights and masks in one factor.
  // A row whose factor is 0 is not read: its loss and gradient are 0, whatever it holds.
  double scale = 1;
  const void* row_scale = nullptr;  // (rows) of acc; optional

  TeacherIs teacher_is = TeacherIs::logits;
  bool standardize = false;  // kl, hinton: z-score each row's logits before dividing by T (population deviation)

  const int64_t* labels = nullptr;  // hinton, dkd: (rows); a label outside [0, classes) makes the row NaN
  int64_t ignore_index = -100;      // hinton, dkd: rows with this label count as a factor of 0

  // hinton: loss = (1 - alpha) * ce + alpha * kd, where scale and row_scale belong to kd and these to ce.
  double alpha = 0;  // dkd: weight of the target term
  double beta = 0;   // dkd: weight of the non-target term; divergence: mixture weight
  double ce_scale = 1;
  const void* ce_row_scale = nullptr;  // (rows) of acc; optional
  double label_smoothing = 0;
  const void* class_weight = nullptr;  // (classes) of acc; optional

  Divergence divergence = Divergence::forward_kl;

  const int64_t* indices = nullptr;  // topk: (rows, k), classes that the teacher lists; -1: an empty place
  int64_t k = 0;
  Tail tail = Tail::renormalize;
};

// Loss terms of a row.
inline int terms(Loss loss) { return loss == Loss::hinton || loss == Loss::dkd ? 2 : 1; }

}  // namespace kdbench
