#include <vector>

#include "kernels/product_key_candidates/product_key_candidates.h"
#include "kernels/product_key_candidates/product_key_candidates_traffic.h"

namespace mneme::kernels {
namespace {

float KeyElement(const TensorView& keys, int64_t row, int64_t column) {
  return keys.dtype == DType::kBf16 ? ToFloat(keys.As<Bf16>().row(row)[column])
                                    : keys.As<float>().row(row)[column];
}

// score[ρ] of one key, by the formula.
float Score(const ProductKeyCandidatesArgs& args, const float* q, int64_t key, int32_t rho) {
  const bool normed = args.inverse_norm != nullptr;
  float dot = 0;
  float weighted_sum = 0;
  float bias = 0;
  for (int32_t k = 0; k < args.key_dim; ++k) {
    const float w = normed && args.norm_weight != nullptr ? args.norm_weight[k] : 1.0f;
    const float b = normed && args.norm_bias != nullptr ? args.norm_bias[k] : 0.0f;
    dot += q[k] * w * KeyElement(args.keys, key, int64_t{k} * args.rank + rho);
    weighted_sum += q[k] * w;
    bias += q[k] * b;
  }
  if (!normed) return dot;
  const float mean = args.mean != nullptr ? args.mean[key * args.rank + rho] : 0.0f;
  return args.inverse_norm[key * args.rank + rho] * (dot - mean * weighted_sum) + bias;
}

void KeepBest(const ProductKeyCandidatesArgs& args, int64_t token, int32_t head, int32_t side) {
  const int32_t chunk = 2 * (head / args.heads_per_group) + side;
  const float* q = args.query.row(token) + int64_t{chunk} * args.key_dim;
  const int32_t stride = args.key_stride > 0 ? args.key_stride : args.key_count;
  const int64_t first_row = (int64_t{head} * 2 + side) * stride;
  const float* direction = side == 0 ? args.row_direction : args.column_direction;
  std::vector<float> scores(int64_t{args.key_count} * args.rank);
  std::vector<float> preselect(args.key_count, 0.0f);
  for (int32_t r = 0; r < args.key_count; ++r) {
    for (int32_t rho = 0; rho < args.rank; ++rho) {
      const float score = Score(args, q, first_row + r, rho);
      scores[int64_t{r} * args.rank + rho] = score;
      preselect[r] += direction == nullptr ? score : score * direction[head * args.rank + rho];
    }
  }
  std::vector<bool> taken(args.key_count, false);
  const int64_t first_out = (int64_t{head} * 2 + side) * args.top_k;
  for (int32_t i = 0; i < args.top_k; ++i) {
    int32_t best = -1;
    for (int32_t r = 0; r < args.key_count; ++r) {
      if (!taken[r] && (best < 0 || preselect[r] > preselect[best])) best = r;
    }
    taken[best] = true;
    args.index.row(token)[first_out + i] = args.first_key + best;
    for (int32_t rho = 0; rho < args.rank; ++rho) {
      args.score.row(token)[(first_out + i) * args.rank + rho] =
          scores[int64_t{best} * args.rank + rho];
    }
  }
}

}  // namespace

Traffic ProductKeyCandidatesTraffic(const ProductKeyCandidatesArgs& args) {
  const int64_t keys = int64_t{args.heads} * 2 * args.key_count;
  const int64_t chunks = 2 * ((args.heads - 1) / args.heads_per_group + 1);
  const int64_t kept = int64_t{args.heads} * 2 * args.top_k;
  const bool normed = args.inverse_norm != nullptr;
  int64_t floats = 0;  // read beside the keys themselves
  if (normed) floats += keys * args.rank;
  if (normed && args.mean != nullptr) floats += keys * args.rank;
  if (normed && args.norm_weight != nullptr) floats += args.key_dim;
  if (normed && args.norm_bias != nullptr) floats += args.key_dim;
  if (args.row_direction != nullptr) floats += int64_t{args.heads} * args.rank;
  if (args.column_direction != nullptr) floats += int64_t{args.heads} * args.rank;
  Traffic traffic;
  if (args.query.rows == 0) return traffic;
  traffic.Read(TrafficClass::kKeys, args.keys.bytes() + floats * 4);
  traffic.Read(TrafficClass::kActivations, args.query.rows * chunks * args.key_dim * 4);
  traffic.Write(TrafficClass::kActivations, args.query.rows * kept * (1 + args.rank) * 4);
  return traffic;
}

Traffic ProductKeyCandidatesReference(const ProductKeyCandidatesArgs& args) {
  for (int64_t t = 0; t < args.query.rows; ++t) {
    for (int32_t h = 0; h < args.heads; ++h) {
      for (int32_t side = 0; side < 2; ++side) KeepBest(args, t, h, side);
    }
  }
  return ProductKeyCandidatesTraffic(args);
}

}  // namespace mneme::kernels
