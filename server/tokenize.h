// What Tokenize and Detokenize answer.
#ifndef MNEME_SERVER_TOKENIZE_H_
#define MNEME_SERVER_TOKENIZE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "loader/tokenizer/tokenizer.h"
#include "proto/mneme/v1/generation.pb.h"

namespace mneme::server {

// What the two are bounded by, besides the size of a request.
struct TextLimits {
  // Ids that Detokenize takes are below. At least the model's and the tokenizer's: an id that only
  // the model has, a padding row's, has no text.
  int32_t vocab_size = 0;
  // The largest reply; more is RESOURCE_EXHAUSTED.
  int64_t max_message_bytes = 0;
};

// FAILED_PRECONDITION when tokenizer is null, INVALID_ARGUMENT naming field, value and position.
absl::Status Tokenize(const v1::TokenizeRequest& request, const loader::Tokenizer* tokenizer,
                      const TextLimits& limits, v1::TokenizeReply* reply);
absl::Status Detokenize(const v1::DetokenizeRequest& request, const loader::Tokenizer* tokenizer,
                        const TextLimits& limits, v1::DetokenizeReply* reply);

}  // namespace mneme::server

#endif  // MNEME_SERVER_TOKENIZE_H_
