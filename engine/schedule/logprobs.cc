#include "engine/schedule/logprobs.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace mneme::schedule {

Logprobs::Logprobs(int32_t vocab_size, int32_t embedding_size, const LogitRowKernels& kernels)
    : vocab_size_(vocab_size),
      embedding_size_(embedding_size),
      kernels_(kernels),
      maxima_(static_cast<size_t>(RowBlocks(embedding_size))),
      sums_(maxima_.size()),
      sorted_maxima_(maxima_.size()),
      ids_(static_cast<size_t>(vocab_size)) {}

bool Logprobs::Compute(const float* row, int32_t token_id, int32_t top_count, float* logprob,
                       std::vector<TokenLogprob>* top) {
  if (!kernels_.all_finite(row, embedding_size_)) return false;
  const float max = kernels_.block_maxima(row, embedding_size_, maxima_.data());
  kernels_.exponentials(row, embedding_size_, max, 1.0f, nullptr, sums_.data());
  double total = 0;
  for (float sum : sums_) total += sum;
  const double log_total = max + std::log(total);
  *logprob = static_cast<float>(row[token_id] - log_total);
  top->clear();
  top_count = std::min(top_count, vocab_size_);
  if (top_count == 0) return true;

  // At least top_count elements reach the top_count-th largest of the blocks' maxima. Maxima of
  // blocks that padding reaches into say nothing about ids < vocab_size and are left out.
  const int64_t whole = vocab_size_ / kRowBlock;
  float bound = -std::numeric_limits<float>::infinity();
  if (top_count <= whole) {
    std::copy_n(maxima_.begin(), whole, sorted_maxima_.begin());
    const auto nth = sorted_maxima_.begin() + (top_count - 1);
    std::nth_element(sorted_maxima_.begin(), nth, sorted_maxima_.begin() + whole,
                     std::greater<float>());
    bound = *nth;
  }
  const int64_t n = kernels_.in_range(row, vocab_size_, bound,
                                      std::numeric_limits<float>::infinity(), ids_.data());
  std::partial_sort(
      ids_.begin(), ids_.begin() + top_count, ids_.begin() + n,
      [row](int32_t a, int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
  for (int32_t i = 0; i < top_count; ++i) {
    const int32_t id = ids_[i];
    top->push_back(TokenLogprob{id, static_cast<float>(row[id] - log_total)});
  }
  return true;
}

}  // namespace mneme::schedule
