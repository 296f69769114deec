#include "engine/runtime/step.h"

#include <cstdlib>

namespace mneme::runtime {

Step::Step(const StepLimits& limits) {
  token_ids_.reserve(limits.max_tokens);
  positions_.reserve(limits.max_tokens);
  spans_.reserve(limits.max_sequences);
  logit_rows_.reserve(limits.max_logit_rows);
  block_changes_.reserve(limits.max_block_changes());
}

void Step::Clear() {
  generation = kAnyGeneration;
  token_ids_.clear();
  positions_.clear();
  spans_.clear();
  logit_rows_.clear();
  block_changes_.clear();
}

void Step::AddSpan(int32_t sequence, int32_t first_position, std::span<const int32_t> token_ids) {
  // Growing past the plan's capacity would be our own bug, and reallocation would hide it.
  if (token_ids_.size() + token_ids.size() > token_ids_.capacity() ||
      spans_.size() == spans_.capacity()) {
    std::abort();
  }
  spans_.push_back({sequence, tokens(), static_cast<int32_t>(token_ids.size()), first_position});
  for (size_t i = 0; i < token_ids.size(); ++i) {
    token_ids_.push_back(token_ids[i]);
    positions_.push_back(first_position + static_cast<int32_t>(i));
  }
}

void Step::ExtendSpan(int32_t token_id) {
  if (spans_.empty() || token_ids_.size() == token_ids_.capacity()) std::abort();
  StepSpan& span = spans_.back();
  token_ids_.push_back(token_id);
  positions_.push_back(span.first_position + span.rows);
  ++span.rows;
}

void Step::AddLogitRow(int32_t row) {
  if (logit_rows_.size() == logit_rows_.capacity()) std::abort();
  logit_rows_.push_back(row);
}

void Step::AddBlockChange(int32_t sequence, int32_t index, int32_t block) {
  if (block_changes_.size() == block_changes_.capacity()) std::abort();
  block_changes_.push_back({sequence, index, block});
}

}  // namespace mneme::runtime
