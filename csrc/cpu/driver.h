// Walks over the rows of a problem with a loss, and what all losses share.
//
// The gradient of a row is written while the next one is read, block by block through the same scratch memory: computing
// overlaps with the stores, and one row's exponentials are all that the cache has to hold.
#pragma once

#include "exponentials.h"

namespace kdbench::KDBENCH_ISA_NAMESPACE {

// A term of a row's loss: factor * (linear + ln(ratio)).
struct Term {
  double factor = 0, linear = 0, ratio = 1;
};

struct Override {
  int64_t index;
  double value;
};

template <class Out, class A>
inline void store_one(Out* to, double value) {
  Out rounded[width<A>];
  store<A>(rounded, splat(A(value)));
  *to = rounded[0];
}

// Losses whose logarithm is still to be taken: a vector of them at a time.
class Pending {
 public:
  explicit Pending(const Problem& problem) : problem_(problem) {}

  void add(int64_t at, const Term& term) {
    at_[count_] = at;
    terms_[count_] = term;
    if (++count_ == capacity) flush();
  }

  void flush() {
    for (int i = 0; i < count_; i += width<double>) {
      double ratios[width<double>];
      for (int j = 0; j < width<double>; ++j) ratios[j] = i + j < count_ ? terms_[i + j].ratio : 1;
      store<double>(ratios, log_of_positive<double>(load<double>(ratios)));
      for (int j = 0; j < width<double> && i + j < count_; ++j) {
        const Term& term = terms_[i + j];
        const double loss = term.factor * (term.linear + ratios[j]);
        if (problem_.dtype == DType::f64) {
          static_cast<double*>(problem_.row_losses)[at_[i + j]] = loss;
        } else {
          static_cast<float*>(problem_.row_losses)[at_[i + j]] = float(loss);
        }
      }
    }
    count_ = 0;
  }

 private:
  static constexpr int capacity = 32;
  const Problem& problem_;
  int64_t at_[capacity];
  Term terms_[capacity];
  int count_ = 0;
};

// A loss, one row at a time, computed in A. The driver calls the virtual functions in the order in which they stand.
template <class A>
struct RowLoss {
  RowLoss(const Problem& given, Scratch<A>& memory)
      : problem(given),
        scratch(memory),
        blocks(memory.blocks()),
        classes(given.classes < width<A> ? width<A> : given.classes),
        count(block_count(classes)) {}
  virtual ~RowLoss() = default;

  // Look at row r. One that does not count has a loss and a gradient of 0, and is not read.
  virtual bool counts(int64_t r) { return open_row(r); }
  // Begin with it; its logits (of the teacher: what the problem lists).
  virtual void open(int64_t r, const A* student, const A* teacher) = 0;
  // Read a block of it into scratch memory.
  virtual void first(Span span, int64_t b) = 0;
  // Its loss, and what the gradient needs.
  virtual void close(Term* losses) = 0;
  // Write a block of the gradient from scratch memory; last of all come the single values in `changed`.
  virtual void second(Span span, int64_t b, A* g, bool streaming) = 0;


  double value(const void* values, int64_t at, double otherwise) const {
    return values ? double(static_cast<const A*>(values)[at]) : otherwise;
  }

  // Read the row's factor and temperature.
  bool open_row(int64_t r) {
    factor = problem.scale * value(problem.row_scale, r, 1);
    temperature = value(problem.row_temperature, r, problem.temperature);
    row.classes = classes;
    row.student_rate = row.teacher_rate = A(log2_e / temperature);
    return factor != 0;
  }

  double student_factor(int64_t index) const { return blocks.student[block_of(index)]; }
  double teacher_factor(int64_t index) const { return blocks.teacher[block_of(index)]; }
  int64_t block_of(int64_t index) const { return std::min(index / block_elements, count - 1); }

  const Problem& problem;
  Scratch<A>& scratch;
  Blocks& blocks;
  const int64_t classes, count;
  Row<A> row{};
  double factor = 0, temperature = 1;
  std::vector<Override> changed;
};

// Write a block of a gradient: value(i) gives the vector at offset i. Streaming goes past the caches, for batches that
// do not fit them.
template <class A, class Value>
KDBENCH_INLINE void write(Span span, A* g, bool streaming, Value value) {
  if (streaming) {
    constexpr int w = width<A>;
    const int64_t ahead = (-(reinterpret_cast<intptr_t>(g + span.begin) / int64_t(sizeof(A)))) & (w - 1);
    if (ahead) store<A>(g + span.begin, value(span.begin));
    int64_t at = span.begin + ahead;
    for (; at + w <= span.end; at += w) store_streaming(g + at, value(at));
    if (at < span.end) store<A>(g + span.end - w, value(span.end - w));
    return;
  }
  for_vectors<A>(span.begin, span.end, [&](int64_t i, I<A>, auto) { store<A>(g + i, value(i)); });
}

// The logits of a row as the policies read them: in place, or copied where the type is narrower, or the row shorter
// than a vector; then filled up with -inf (with 0 for probabilities).
template <class A, class In>
class Reader {
 public:
  Reader(int64_t classes, bool probabilities, std::vector<A>& memory)
      : classes_(classes),
        rest_(probabilities ? A(0) : -infinity<A>),
        copies_(!std::is_same_v<A, In> || classes < width<A>),
        memory_(memory) {
    if (copies_) memory.resize(std::max<int64_t>({classes, width<A>, int64_t(memory.size())}));
  }

  const A* read(const void* values, int64_t r) {
    const In* from = static_cast<const In*>(values) + r * classes_;
    if constexpr (std::is_same_v<A, In>) {
      if (!copies_) return from;
    }
    A* to = memory_.data();
    if (classes_ < width<A>) {
      In padded[width<A>] = {};
      std::memcpy(padded, from, classes_ * sizeof(In));
      const V<A> value = load<A>(padded);
      store<A>(to, iota<A>() < int(classes_) ? value : splat(rest_));
    } else {
      for_vectors<A>(0, classes_, [&](int64_t i, I<A>, auto) { store<A>(to + i, load<A>(from + i)); });
    }
    return to;
  }

 private:
  const int64_t classes_;
  const A rest_;
  const bool copies_;
  std::vector<A>& memory_;
};

// A block of the gradient in the logits' type.
template <class In, class A>
inline void write_block(RowLoss<A>& loss, Span span, int64_t b, In* gradient, bool streaming) {
  if constexpr (std::is_same_v<A, In>) {
    if (loss.problem.classes >= width<A>) return loss.second(span, b, gradient, streaming);
  }
  A block[2 * block_elements];
  loss.second(span, b, block - span.begin, false);
  if (loss.problem.classes < width<A>) {
    In padded[width<A>];
    store<A>(padded, load<A>(block));
    std::memcpy(gradient, padded, loss.problem.classes * sizeof(In));
  } else {
    for_vectors<A>(0, span.end - span.begin, [&](int64_t i, I<A>, auto) {
      store<A>(gradient + span.begin + i, load<A>(block + i));
    });
  }
}

template <class In, class A>
void run(RowLoss<A>& loss, int64_t begin, int64_t end) {
  // Gradients that will be long out of the caches before anyone reads them.
  constexpr int64_t streaming_bytes = 16 << 20;
  static thread_local std::vector<A> student_memory, teacher_memory;
  const Problem& problem = loss.problem;
  const bool listed = problem.loss == Loss::topk;
  Reader<A, In> students(problem.classes, false, student_memory);
  Reader<A, In> teachers(listed ? problem.k : problem.classes, problem.teacher_is == TeacherIs::probs, teacher_memory);
  Pending pending(problem);
  const int64_t count = loss.count, terms = kdbench::terms(problem.loss);
  const bool streaming = problem.rows * problem.classes * int64_t(sizeof(In)) >= streaming_bytes;
  In* const gradients = static_cast<In*>(problem.grad);
  In* before = nullptr;  // where the gradient of the row before goes, if it is still to be written
  for (int64_t r = begin; r <= end; ++r) {
    const bool counts = r < end && loss.counts(r);
    if (counts) loss.open(r, students.read(problem.student, r), teachers.read(problem.teacher, r));
    for (int64_t b = 0; (before || counts) && b < count; ++b) {
      const Span span = block_span(b, count, loss.classes);
      if (before) write_block(loss, span, b, before, streaming);
      if (counts) loss.first(span, b);
    }
    if (before) {
      for (const Override& one : loss.changed) store_one<In, A>(before + one.index, one.value);
      before = nullptr;
    }
    if (r == end) break;
    In* const gradient = gradients ? gradients + r * problem.classes : nullptr;
    Term losses[2];
    if (counts) {
      loss.close(losses);
      before = gradient;
    } else if (gradient) {
      std::memset(gradient, 0, problem.classes * sizeof(In));
    }
    for (int64_t k = 0; k < terms; ++k) pending.add(r * terms + k, losses[k]);
  }
  pending.flush();
  if (streaming) streaming_done();
}

}  // namespace kdbench::KDBENCH_ISA_NAMESPACE
