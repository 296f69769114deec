// A Step as bytes, for a rank in another process. All of it are 32-bit words in the machine's byte
// order (ranks of one plan run the same build on the same kind of machine):
//
//   magic, number (two words, low first), tokens, spans, logit rows, block changes,
//   tokens x token id, spans x (sequence, first_position, rows), logit rows x row,
//   block changes x (sequence, index, block)
//
// What follows from these (rows of spans, positions) is not sent: a decode step of 64 sequences
// takes about 1.3 kB. Nothing here allocates, except the text of an error.
#ifndef MNEME_ENGINE_RUNTIME_STEP_MESSAGE_H_
#define MNEME_ENGINE_RUNTIME_STEP_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "engine/runtime/step.h"

namespace mneme::runtime {

// Bytes that the step takes, and the most that any step of these limits takes.
size_t StepMessageBytes(const Step& step);
size_t MaxStepMessageBytes(const StepLimits& limits);

// REQUIRES: to.size() == StepMessageBytes(step).
void WriteStepMessage(const Step& step, std::span<uint8_t> to);

// Replaces `step` by what the message says. embedding_size: token ids are below it. Trusts nothing:
// INVALID_ARGUMENT names what does not fit the limits, with its values, and leaves `step` cleared.
absl::Status ReadStepMessage(std::span<const uint8_t> message, const StepLimits& limits,
                             int32_t embedding_size, Step* step);

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_STEP_MESSAGE_H_
