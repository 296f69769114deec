// Log-probabilities as clients ask for them: log softmax of the unprocessed logits over the whole
// row, padding included, as the training loss is defined. The likeliest alternatives are given
// among ids < vocab_size, the only ones that stand for tokens; of equals the lower id comes first.
//
// All memory is taken in the constructor. For one thread.
#ifndef MNEME_ENGINE_SCHEDULE_LOGPROBS_H_
#define MNEME_ENGINE_SCHEDULE_LOGPROBS_H_

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "engine/schedule/logit_row.h"

namespace mneme::schedule {

class Logprobs {
 public:
  Logprobs(int32_t vocab_size, int32_t embedding_size, const LogitRowKernels& kernels);

  // row: [embedding_size] f32. Sets *logprob of token_id and *top to the top_count likeliest; top
  // has that capacity. False, with nothing set, when a logit is NaN or infinite.
  bool Compute(const float* row, int32_t token_id, int32_t top_count, float* logprob,
               std::vector<TokenLogprob>* top);

 private:
  int32_t vocab_size_;
  int32_t embedding_size_;
  const LogitRowKernels& kernels_;
  std::vector<float> maxima_;
  std::vector<float> sums_;
  std::vector<float> sorted_maxima_;
  std::vector<int32_t> ids_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_LOGPROBS_H_
