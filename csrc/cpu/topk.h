// The teacher lists k classes: one softmax over the student's row, and single values of its gradient.
#pragma once

#include "driver.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

template <class A>
struct TopK final : RowLoss<A> {
  using RowLoss<A>::RowLoss;

  void open(int64_t r, const A* s, const A* listed_values) override {
    this->row.student = s;
    values = listed_values;
    indices = this->problem.indices + r * this->problem.k;
  }

  void first(Span span, int64_t b) override {
    auto& scratch = this->scratch;
    exponentials<Side::none, false, false, false>(this->row, span, this->blocks, b, scratch[0], scratch[1],
                                                  scratch[2]);
  }

  void close(Term* losses) override {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const Problem& problem = this->problem;
    const PairSums sums = kdbench::KDBENCH_ISA_NAMESPACE::close<false>(this->blocks, this->count);
    const double a = this->factor / this->temperature, log_sum = std::log(sums.student_sum);
    Term& loss = losses[0];
    loss.factor = this->factor;
    this->changed.clear();
    if (!read_list()) {
      loss.linear = of_student = nan;
      return;
    }
    of_student = 0;
    if (listed.empty()) return;
    const bool given = problem.tail == Tail::bucket;  // p as it is, not divided by its sum
    const bool bucket = given && int64_t(listed.size()) < problem.classes;
    double mass = 0;
    for (const Listed& one : listed) mass += one.p;
    const double log_mass = given ? 0 : std::log(mass), divisor = given ? 1 : mass;
    for (const Listed& one : listed) {
      const double x = double(this->row.student[one.index]) * double(this->row.student_rate);
      const double log_q = ln_2 * (x - sums.student_reference) - log_sum;
      const double p = one.p / divisor;
      if (p != 0) loss.linear += p * (one.log_p - log_mass - log_q);
      const double q = this->scratch[0][one.index] * this->student_factor(one.index) / sums.student_sum;
      this->changed.push_back({one.index, -a * p});
      kept.push_back(q);
    }
    // P q - p for a listed class; for the others their share of the rest's, q (P - p_rest / q_rest).
    double total = given ? mass : 1, of_others = total;
    if (bucket) {
      const double p_rest = std::max(0.0, 1 - mass), q_rest = rest() / sums.student_sum;
      total += p_rest;
      of_others = total;
      if (p_rest > 0) {
        loss.linear += p_rest * (std::log(p_rest) - std::log(q_rest));
        of_others = total - p_rest / q_rest;
      }
    }
    for (size_t j = 0; j < listed.size(); ++j) this->changed[j].value += a * total * kept[j];
    of_student = a * of_others / sums.student_sum;
    if (!(sums.student_sum > 0) || std::isnan(loss.linear)) {
      loss.linear = of_student = nan;  // a row is NaN as a whole
      this->changed.clear();
    }
  }

  void second(Span span, int64_t b, A* g, bool streaming) override {
    const A* e = this->scratch[0];
    const V<A> student_part = splat(A(of_student * this->blocks.student[b]));
    write<A>(span, g, streaming, [&](int64_t i) KDBENCH_LAMBDA_INLINE { return load<A>(e + i) * student_part; });
  }

 private:
  struct Listed {
    int64_t index;
    double p, log_p;  // before division by their sum
  };

  // The row's list without its empty places; false where an index is no class.
  bool read_list() {
    const Problem& problem = this->problem;
    listed.clear();
    kept.clear();
    double largest = -infinity<double>;
    for (int64_t j = 0; j < problem.k; ++j) {
      if (indices[j] == -1) continue;
      if (indices[j] < 0 || indices[j] >= problem.classes) return false;
      const double value = double(values[j]);
      listed.push_back({indices[j], value, value});
      largest = value > largest ? value : largest;
    }
    for (Listed& one : listed) {
      if (problem.teacher_is == TeacherIs::probs) {
        one.log_p = std::log(one.p);
      } else {
        if (problem.teacher_is == TeacherIs::logits) one.log_p = (one.p - largest) / this->temperature;
        one.p = std::exp(one.log_p);
      }
    }
    return true;
  }

  // The sum of the exponentials of the classes that are not listed, relative to the row's reference.
  double rest() {
    A* e = this->scratch[0];
    saved.clear();
    for (const Listed& one : listed) {
      saved.push_back(e[one.index]);
      e[one.index] = 0;
    }
    double total = 0;
    for (int64_t b = 0; b < this->count; ++b) {
      const Span span = block_span(b, this->count, this->classes);
      V<A> part{};
      for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A> mask, auto is_partial) {
        part += masked<A>(mask, load<A>(e + i), is_partial);
      });
      total += this->blocks.student[b] * sum<A>(part);
    }
    for (size_t j = 0; j < listed.size(); ++j) e[listed[j].index] = saved[j];
    return total;
  }

  const A* values = nullptr;
  const int64_t* indices = nullptr;
  std::vector<Listed> listed;
  std::vector<double> kept;
  std::vector<A> saved;
  double of_student = 0;
};

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
