// How many steps a normalizer, a pre-tokenizer or a decoder may have.
#ifndef MNEME_LOADER_TOKENIZER_STEP_LIMIT_H_
#define MNEME_LOADER_TOKENIZER_STEP_LIMIT_H_

#include <cstddef>

#include "absl/status/status.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {

// Published files have five at most. Each runs for every text, and a decoder's for every token of
// the vocabulary.
inline constexpr size_t kMaxSteps = 64;

// Refuses the step `field` when there are `before` others already, those of all sequences counted.
inline absl::Status CheckStepLimit(const JsonField& field, size_t before) {
  if (before < kMaxSteps) return absl::OkStatus();
  return field.Error(Message("step ", before + 1, "; at most ", kMaxSteps, " are supported"));
}

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_STEP_LIMIT_H_
