// Invariants:
//  1. Each part's candidates are sorted, so the next one is always the first that a part has left.
//  2. Parts are met in ascending order and a later one must score strictly more, so ties keep the
//     lower index.
#include <algorithm>
#include <array>

#include "kernels/product_key_merge/product_key_merge.h"

namespace mneme::kernels {
namespace {

// Also in product_key_candidates_simd.inl, operation for operation (neither is contracted).
float Preselect(const float* score, const float* direction, int32_t rank) {
  if (direction == nullptr) return score[0];
  float sum = score[0] * direction[0];
  for (int32_t rho = 1; rho < rank; ++rho) sum += score[rho] * direction[rho];
  return sum;
}

// What a part has left of one token, head and side.
struct Rest {
  float preselect;  // of the first
  const int32_t* index;
  const float* score;
  int32_t count;
};

void MergeSide(const ProductKeyMergeArgs& args, const float* direction, Rest* rests, int32_t* index,
               float* score) {
  const auto parts = static_cast<int32_t>(args.parts.size());
  for (int32_t i = 0; i < args.top_k; ++i) {
    Rest* best = nullptr;
    for (int32_t p = 0; p < parts; ++p) {
      if (rests[p].count == 0) continue;
      if (best == nullptr || rests[p].preselect > best->preselect) best = &rests[p];
    }
    index[i] = *best->index++;
    std::copy_n(best->score, args.rank, score + int64_t{i} * args.rank);
    best->score += args.rank;
    if (--best->count > 0) best->preselect = Preselect(best->score, direction, args.rank);
  }
}

}  // namespace

Traffic ProductKeyMerge(const ProductKeyMergeArgs& args) {
  std::array<Rest, kMostMergeParts> rests;
  for (int64_t t = 0; t < args.index.rows; ++t) {
    for (int64_t side = 0; side < int64_t{args.heads} * 2; ++side) {
      const float* directions = side % 2 == 0 ? args.row_direction : args.column_direction;
      const float* direction = directions == nullptr ? nullptr : directions + side / 2 * args.rank;
      for (size_t p = 0; p < args.parts.size(); ++p) {
        const ProductKeyMergePart& part = args.parts[p];
        const int64_t at = (t * args.heads * 2 + side) * part.top_k;
        const float* score = part.score + at * args.rank;
        rests[p] = {part.top_k > 0 ? Preselect(score, direction, args.rank) : 0.0f, part.index + at,
                    score, part.top_k};
      }
      MergeSide(args, direction, rests.data(), args.index.row(t) + side * args.top_k,
                args.score.row(t) + side * args.top_k * args.rank);
    }
  }
  return ProductKeyMergeTraffic(args);
}

}  // namespace mneme::kernels
