// A rank's result of a step as bytes, from its process to the front: plain integers and doubles in
// the machine's byte order. The logits are not among them: rank 0 has gathered them.
//
//   magic, tokens, status code, text bytes (32 bits each), step number, step_seconds,
//   runtime_seconds, traffic and logit_traffic (read and written by class), then, where the code is
//   0, tokens x token_value_row_bytes, tokens x token_expert_bytes, tokens x token_kv_bytes, else
//   the error's text
//
// 264 bytes and 24 per token.
#ifndef MNEME_ENGINE_RANKS_RESULT_MESSAGE_H_
#define MNEME_ENGINE_RANKS_RESULT_MESSAGE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/executor.h"

namespace mneme::ranks {

// What a message says; memory is used again.
struct RankResult {
  uint64_t step = 0;
  absl::Status status;
  kernels::Traffic traffic;
  kernels::Traffic logit_traffic;
  double step_seconds = 0;
  double runtime_seconds = 0;
  std::vector<double> token_value_row_bytes;
  std::vector<double> token_expert_bytes;
  std::vector<double> token_kv_bytes;
};

uint64_t MaxResultMessageBytes(int32_t max_tokens);

// Replaces `to`, which allocates nothing once it has held the largest result.
void WriteResultMessage(uint64_t step, const runtime::StepResult& result, std::vector<uint8_t>* to);

// INVALID_ARGUMENT names what does not fit, with the values. max_tokens: of the plan.
absl::Status ReadResultMessage(std::span<const uint8_t> message, int32_t max_tokens,
                               RankResult* result);

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RESULT_MESSAGE_H_
