#include "engine/schedule/token_counts.h"

#include <bit>

namespace mneme::schedule {

TokenCounts::TokenCounts(std::span<const int32_t> prompt, int32_t max_tokens)
    : table_(std::bit_ceil(static_cast<size_t>(max_tokens) * 2 + 2), -1) {
  entries_.reserve(static_cast<size_t>(max_tokens));
  for (int32_t token : prompt) Locate(token);
}

size_t TokenCounts::Locate(int32_t token_id) {
  const size_t mask = table_.size() - 1;
  // Multiplication by the golden ratio spreads neighbouring ids.
  size_t slot = (static_cast<uint32_t>(token_id) * 0x9E3779B9u >> 7) & mask;
  while (table_[slot] >= 0) {
    if (entries_[static_cast<size_t>(table_[slot])].token_id == token_id) {
      return static_cast<size_t>(table_[slot]);
    }
    slot = (slot + 1) & mask;
  }
  table_[slot] = static_cast<int32_t>(entries_.size());
  entries_.push_back(TokenCount{token_id, 0});
  return entries_.size() - 1;
}

}  // namespace mneme::schedule
