// The loss of a model on a text.
#ifndef MNEME_CLIENTS_CLI_PERPLEXITY_H_
#define MNEME_CLIENTS_CLI_PERPLEXITY_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan_model.h"

namespace mneme::cli {

struct PerplexityOptions {
  ModelOptions model;
  std::string text_path;
  int64_t window = 256;
};

struct PerplexityResult {
  double loss = 0;           // mean over all predictions, nats
  double loss_per_byte = 0;  // the same total over the bytes of the predicted text
  int64_t windows = 0;
  int64_t predictions = 0;
  int64_t tokens = 0;           // of the whole text
  int64_t bytes = 0;            // of the whole text
  int64_t predicted_bytes = 0;  // of the tokens that were predicted
};

// With ids t of the whole text and windows of W tokens, window w predicts t[wW+1 ... wW+W] from
// t[wW ... wW+W-1] and nothing before; a last window that is not full is left out. Errors:
// NOT_FOUND for the file, INVALID_ARGUMENT for a text too short or of more than
// loader::kMaxEncodeBytes, one with a token that the model does not have, a window that the context
// does not hold, or a model without a tokenizer.
absl::StatusOr<PerplexityResult> Perplexity(const PerplexityOptions& options);

// -log softmax(logits)[id], summed in float64. REQUIRES: 0 <= id < logits.size().
double NegativeLogProbability(std::span<const float> logits, int32_t id);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_PERPLEXITY_H_
