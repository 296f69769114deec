// Chooses the next token from a row of logits. The order of processing:
//
//   1. suppressed ids, and all ids >= vocab_size, become impossible
//   2. logit_bias is added
//   3. repetition penalty, of tokens in the prompt or the output: l > 0 ? l / r : l * r
//   4. frequency penalty times the count in the output, and presence penalty, are subtracted
//   5. temperature: p = softmax(l / T). T < 1e-5 is greedy: the largest l, of equals the lowest id
//   6. min-p: drops p < min_p * max p
//   7. top-k: drops what is less than the k-th largest; equals of that stay
//   8. top-p: keeps the fewest likeliest whose mass, of what is left, reaches top_p; of equals the
//      lower ids
//   9. a draw from what is left, by inverse distribution in ascending order of ids, with
//      UniformAt(seed, choice, position)
//
// These are vLLM's meanings; where it leaves ties to chance, the rules above decide. The token is a
// function of the row and the draw alone. Nothing sorts the vocabulary: the costs are a copy when
// 1-4 have something to do, a pass for the maximum, one for exponentials, and for top-p (or a large
// top-k) about ten passes that bisect for the cut.
//
// All memory is taken in the constructor. For one thread.
#ifndef MNEME_ENGINE_SCHEDULE_SAMPLER_H_
#define MNEME_ENGINE_SCHEDULE_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/schedule/logit_row.h"
#include "engine/schedule/token_counts.h"

namespace mneme::schedule {

// What one token is drawn with.
struct Draw {
  const SamplingParams* params = nullptr;
  std::span<const int32_t> suppressed{};  // ids in [0, vocab_size)
  const TokenCounts* counts = nullptr;    // null: no penalties
  uint64_t seed = 0;
  int32_t choice = 0;
  int32_t position = 0;  // where the token will stand
};

// Whether these parameters need TokenCounts.
bool HasPenalties(const SamplingParams& params);

class Sampler {
 public:
  // Returned when a logit is NaN or infinite.
  static constexpr int32_t kNotFinite = -1;

  Sampler(int32_t vocab_size, const LogitRowKernels& kernels);

  // row: [>= vocab_size] f32.
  int32_t Sample(const float* row, const Draw& draw);

 private:
  // A candidate that top-p may cut, by its place among the candidates.
  struct Boundary {
    float weight;
    int32_t place;
  };

  const float* Process(const float* row, const Draw& draw);
  int32_t Greedy(const float* x, float max) const;
  float KthLargest(const float* x, float max, int32_t k);
  // Sets the candidates, those with x >= floor, their weights exp((x - max) / T) and sums_.
  void Collect(const float* x, float floor, float max, float inverse_t);
  // Finds the cut of top-p, and takes what it drops out of sums_.
  void CutTopP(float top_p);
  // Of pool_[0, size): what comes last of the heaviest that together reach `mass`.
  Boundary SelectByMass(int64_t size, double mass);
  int32_t DrawCandidate(double u) const;
  double SumOfBlocks() const;

  int32_t vocab_size_;
  const LogitRowKernels& kernels_;
  std::vector<float> processed_;  // [vocab_size]
  std::vector<float> maxima_;     // [blocks]
  std::vector<float> values_;     // [vocab_size]
  std::vector<int32_t> ids_;      // [vocab_size] of the candidates, ascending
  std::vector<float> weights_;    // [vocab_size] of the candidates
  std::vector<float> sums_;       // [blocks] of weights_
  std::vector<int32_t> places_;   // [vocab_size]
  std::vector<Boundary> pool_;    // [vocab_size]
  float cut_ = 0;                 // candidates that weigh less are dropped
  int64_t candidates_ = 0;
  bool all_ = false;  // every id is a candidate, and ids_ is not filled
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_SAMPLER_H_
