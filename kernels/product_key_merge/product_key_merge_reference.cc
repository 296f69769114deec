#include <algorithm>
#include <vector>

#include "kernels/product_key_merge/product_key_merge.h"

namespace mneme::kernels {
namespace {

struct Candidate {
  float preselect;
  int32_t index;
  const float* score;
};

float Preselect(const float* score, const float* direction, int32_t rank) {
  if (direction == nullptr) return score[0];
  float sum = score[0] * direction[0];
  for (int32_t rho = 1; rho < rank; ++rho) sum += score[rho] * direction[rho];
  return sum;
}

void MergeSide(const ProductKeyMergeArgs& args, int64_t token, int64_t side) {
  const float* directions = side % 2 == 0 ? args.row_direction : args.column_direction;
  const float* direction = directions == nullptr ? nullptr : directions + side / 2 * args.rank;
  std::vector<Candidate> all;
  for (const ProductKeyMergePart& part : args.parts) {
    for (int32_t i = 0; i < part.top_k; ++i) {
      const int64_t at = (token * args.heads * 2 + side) * part.top_k + i;
      const float* score = part.score + at * args.rank;
      all.push_back({Preselect(score, direction, args.rank), part.index[at], score});
    }
  }
  for (int32_t i = 0; i < args.top_k; ++i) {
    size_t best = 0;
    for (size_t c = 1; c < all.size(); ++c) {
      if (all[c].preselect > all[best].preselect ||
          (all[c].preselect == all[best].preselect && all[c].index < all[best].index)) {
        best = c;
      }
    }
    const int64_t out = side * args.top_k + i;
    args.index.row(token)[out] = all[best].index;
    std::copy_n(all[best].score, args.rank, args.score.row(token) + out * args.rank);
    all.erase(all.begin() + static_cast<int64_t>(best));
  }
}

}  // namespace

Traffic ProductKeyMergeTraffic(const ProductKeyMergeArgs& args) {
  const int64_t tokens = args.index.rows;
  Traffic traffic;
  if (tokens == 0) return traffic;
  for (size_t p = 0; p < args.parts.size(); ++p) {
    const int64_t entries = int64_t{args.heads} * 2 * args.parts[p].top_k;
    traffic.Read(p == static_cast<size_t>(args.own_part) ? TrafficClass::kActivations
                                                         : TrafficClass::kExchange,
                 static_cast<uint64_t>(tokens * entries * (1 + args.rank) * 4));
  }
  for (const float* directions : {args.row_direction, args.column_direction}) {
    if (directions == nullptr) continue;
    traffic.Read(TrafficClass::kKeys, static_cast<uint64_t>(int64_t{args.heads} * args.rank * 4));
  }
  const int64_t kept = int64_t{args.heads} * 2 * args.top_k;
  traffic.Write(TrafficClass::kActivations,
                static_cast<uint64_t>(tokens * kept * (1 + args.rank) * 4));
  return traffic;
}

Traffic ProductKeyMergeReference(const ProductKeyMergeArgs& args) {
  for (int64_t t = 0; t < args.index.rows; ++t) {
    for (int64_t side = 0; side < int64_t{args.heads} * 2; ++side) MergeSide(args, t, side);
  }
  return ProductKeyMergeTraffic(args);
}

}  // namespace mneme::kernels
