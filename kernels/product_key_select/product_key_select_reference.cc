#include <cmath>
#include <vector>

#include "kernels/product_key_select/product_key_select.h"
#include "kernels/product_key_select/product_key_select_traffic.h"

namespace mneme::kernels {
namespace {

float CandidateScore(const ProductKeySelectArgs& args, const float* s1, const float* s2,
                     int32_t head, int32_t c) {
  if (args.mode == ProductKeyMode::kSum) return s1[0] + s2[0];
  const float* core = args.core + (int64_t{c} * args.heads + head) * args.rank * args.rank;
  float score = 0;
  for (int32_t rho = 0; rho < args.rank; ++rho) {
    float row = 0;
    for (int32_t sigma = 0; sigma < args.rank; ++sigma) {
      row += s1[sigma] * core[sigma * args.rank + rho];
    }
    score += row * s2[rho];
  }
  return score;
}

void Softmax(const float* score, int32_t count, float* weight) {
  float max = score[0];
  for (int32_t i = 1; i < count; ++i) max = score[i] > max ? score[i] : max;
  float sum = 0;
  for (int32_t i = 0; i < count; ++i) {
    weight[i] = std::exp(score[i] - max);
    sum += weight[i];
  }
  for (int32_t i = 0; i < count; ++i) weight[i] /= sum;
}

void SelectHead(const ProductKeySelectArgs& args, int64_t t, int32_t head) {
  const int32_t k = args.top_k;
  const int64_t rows = int64_t{head} * 2 * k;
  const int64_t columns = rows + k;
  const int32_t* index = args.index.row(t);
  const float* score = args.score.row(t);
  const auto core_score = [&](int32_t candidate, int32_t c) {
    return CandidateScore(args, score + (rows + candidate / k) * args.rank,
                          score + (columns + candidate % k) * args.rank, head, c);
  };
  std::vector<float> sums(int64_t{k} * k, 0.0f);
  std::vector<bool> taken(int64_t{k} * k, false);
  for (int32_t n = 0; n < k * k; ++n) {
    for (int32_t c = 0; c < args.cores; ++c) sums[n] += core_score(n, c);
  }
  for (int32_t place = 0; place < k; ++place) {
    int32_t best = -1;
    for (int32_t n = 0; n < k * k; ++n) {
      if (!taken[n] && (best < 0 || sums[n] > sums[best])) best = n;
    }
    taken[best] = true;
    const int64_t s = int64_t{head} * k + place;
    const int32_t grid = index[rows + best / k] * args.key_count + index[columns + best % k];
    const int64_t address = args.shuffle != nullptr ? args.shuffle[grid] : grid;
    args.grid.row(t)[s] = grid;
    args.group.row(t)[s] = static_cast<int32_t>(address / args.window);
    args.slot.row(t)[s] = static_cast<int32_t>((address % args.window + args.offset) % args.slots);
    for (int32_t c = 0; c < args.cores; ++c) {
      args.raw_score.row(t)[s * args.cores + c] = core_score(best, c);
    }
  }
}

}  // namespace

Traffic ProductKeySelectTraffic(const ProductKeySelectArgs& args) {
  const int64_t tokens = args.index.rows;
  const int64_t selections = int64_t{args.heads} * args.top_k;
  Traffic traffic;
  if (tokens == 0) return traffic;
  if (args.mode == ProductKeyMode::kTucker) {
    traffic.Read(TrafficClass::kKeys, int64_t{args.cores} * args.heads * args.rank * args.rank * 4);
  }
  if (args.shuffle != nullptr) traffic.Read(TrafficClass::kKeys, tokens * selections * 4);
  const int64_t weights = args.weight.empty() ? 0 : args.cores;
  traffic.Read(TrafficClass::kActivations, tokens * selections * 2 * (1 + args.rank) * 4);
  traffic.Write(TrafficClass::kActivations, tokens * selections * (3 + args.cores + weights) * 4);
  return traffic;
}

Traffic ProductKeySelectReference(const ProductKeySelectArgs& args) {
  const int64_t tokens = args.index.rows;
  const int64_t selections = int64_t{args.heads} * args.top_k;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int32_t h = 0; h < args.heads; ++h) SelectHead(args, t, h);
    const float* raw = args.raw_score.row(t);
    for (int32_t h = 0; h < args.heads && args.mode == ProductKeyMode::kSum; ++h) {
      const int64_t first = int64_t{h} * args.top_k;
      Softmax(raw + first, args.top_k, args.weight.row(t) + first);
    }
    for (int64_t i = 0; args.mode == ProductKeyMode::kTucker && !args.weight.empty() &&
                        i < selections * args.cores;
         ++i) {
      args.weight.row(t)[i] = raw[i];
    }
  }
  return ProductKeySelectTraffic(args);
}

}  // namespace mneme::kernels
