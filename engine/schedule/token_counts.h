// Which tokens a sequence has seen, for penalties: in its prompt or not, and how often in its
// output. An open-addressing table over a dense list, so that applying penalties touches only the
// logits of tokens that occurred.
//
// All memory is taken in the constructor. For one thread at a time.
#ifndef MNEME_ENGINE_SCHEDULE_TOKEN_COUNTS_H_
#define MNEME_ENGINE_SCHEDULE_TOKEN_COUNTS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace mneme::schedule {

struct TokenCount {
  int32_t token_id = -1;
  int32_t output_count = 0;  // 0: the token occurs in the prompt only
};

class TokenCounts {
 public:
  // Room for max_tokens tokens, prompt and output together, of which the prompt is counted now.
  TokenCounts(std::span<const int32_t> prompt, int32_t max_tokens);

  // REQUIRES: fewer than max_tokens tokens were counted.
  void AddOutput(int32_t token_id) { ++entries_[Locate(token_id)].output_count; }
  // Each token that occurred, once, in the order of first occurrence.
  std::span<const TokenCount> entries() const { return entries_; }

 private:
  // The index of the token's entry, made if there is none.
  size_t Locate(int32_t token_id);

  std::vector<TokenCount> entries_;
  std::vector<int32_t> table_;  // a power of two of indices into entries_, -1: empty
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_TOKEN_COUNTS_H_
