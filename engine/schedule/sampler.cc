#include "engine/schedule/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/schedule/philox.h"

namespace mneme::schedule {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kGreedyBelow = 1e-5f;

// Penalties of extreme size must not make an infinity out of a finite logit.
float Clamp(float x) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return std::clamp(x, -kLargest, kLargest);
}

}  // namespace

bool HasPenalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
         params.frequency_penalty != 0;
}

Sampler::Sampler(int32_t vocab_size, const LogitRowKernels& kernels)
    : vocab_size_(vocab_size),
      kernels_(kernels),
      processed_(static_cast<size_t>(vocab_size)),
      maxima_(static_cast<size_t>(RowBlocks(vocab_size))),
      sums_(maxima_.size()),
      values_(processed_.size()),
      ids_(processed_.size()),
      weights_(processed_.size()),
      pool_(processed_.size()) {}

int32_t Sampler::Sample(const float* row, const Draw& draw) {
  if (!kernels_.all_finite(row, vocab_size_)) return kNotFinite;
  const SamplingParams& params = *draw.params;
  const float* x = Process(row, draw);
  const float max = kernels_.block_maxima(x, vocab_size_, maxima_.data());
  // Everything suppressed: the lowest id stands in for a distribution that does not exist.
  if (max == kMinusInfinity) return 0;
  if (params.temperature < kGreedyBelow) return Greedy(x, max);

  const float inverse_t = 1.0f / params.temperature;
  const double u = UniformAt(draw.seed, static_cast<uint32_t>(draw.choice),
                             static_cast<uint32_t>(draw.position));
  float floor = kMinusInfinity;
  if (params.min_p > 0) floor = max + std::log(params.min_p) * params.temperature;
  if (params.top_k > 0 && params.top_k < vocab_size_) {
    floor = std::max(floor, KthLargest(x, params.top_k));
  }
  const bool top_p = params.top_p < 1;
  if (floor == kMinusInfinity && !top_p) return DrawFromAll(x, max, inverse_t, u);

  const double mass = floor == kMinusInfinity
                          ? CollectForTopP(x, max, params.temperature, params.top_p)
                          : Collect(x, floor, max, inverse_t);
  // Weight -1 keeps everything.
  const Cut cut = top_p ? CutAt(mass * params.top_p) : Cut{-1.0f, 0};
  return DrawFromCandidates(cut, u);
}

const float* Sampler::Process(const float* row, const Draw& draw) {
  const SamplingParams& params = *draw.params;
  if (draw.suppressed.empty() && params.logit_bias.empty() && draw.counts == nullptr) return row;
  std::copy_n(row, vocab_size_, processed_.data());
  for (int32_t id : draw.suppressed) processed_[id] = kMinusInfinity;
  for (const auto& [id, bias] : params.logit_bias) processed_[id] += bias;
  if (draw.counts == nullptr) return processed_.data();
  const float repetition = params.repetition_penalty;
  for (const TokenCount& entry : draw.counts->entries()) {
    float& l = processed_[entry.token_id];
    if (l == kMinusInfinity) continue;
    if (repetition != 1) l = Clamp(l > 0 ? l / repetition : l * repetition);
    if (entry.output_count > 0) {
      l -= params.frequency_penalty * static_cast<float>(entry.output_count);
      l -= params.presence_penalty;
    }
  }
  return processed_.data();
}

int32_t Sampler::Greedy(const float* x, float max) const {
  const int64_t block = std::ranges::find(maxima_, max) - maxima_.begin();
  return static_cast<int32_t>(std::find(x + block * kRowBlock, x + vocab_size_, max) - x);
}

int32_t Sampler::DrawFromAll(const float* x, float max, float inverse_t, double u) {
  kernels_.block_exp_sums(x, vocab_size_, max, inverse_t, sums_.data());
  double total = 0;
  for (float sum : sums_) total += sum;
  double left = u * total;
  const int64_t blocks = static_cast<int64_t>(sums_.size());
  int64_t block = 0;
  // The last block with mass takes what rounding leaves over.
  int64_t last = 0;
  for (; block < blocks; ++block) {
    if (sums_[block] <= 0) continue;
    last = block;
    if (left < sums_[block]) break;
    left -= sums_[block];
  }
  if (block == blocks) {
    block = last;
    left = sums_[last];
  }
  const int64_t first = block * kRowBlock;
  const int64_t n = std::min<int64_t>(kRowBlock, vocab_size_ - first);
  kernels_.exponentials(x + first, n, max, inverse_t, weights_.data());
  int64_t chosen = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (weights_[i] <= 0) continue;
    chosen = i;
    if (left < weights_[i]) break;
    left -= weights_[i];
  }
  return static_cast<int32_t>(first + chosen);
}

double Sampler::Collect(const float* x, float floor, float max, float inverse_t) {
  candidates_ = kernels_.at_least(x, vocab_size_, floor, ids_.data());
  for (int64_t i = 0; i < candidates_; ++i) values_[i] = x[ids_[i]];
  kernels_.exponentials(values_.data(), candidates_, max, inverse_t, weights_.data());
  double mass = 0;
  for (int64_t i = 0; i < candidates_; ++i) mass += weights_[i];
  return mass;
}

// Nearly always few tokens hold top_p of the mass: the candidates are those within a distance of
// the largest logit, which grows until they hold enough. Returns the mass of the whole row.
double Sampler::CollectForTopP(const float* x, float max, float temperature, float top_p) {
  const float inverse_t = 1.0f / temperature;
  kernels_.block_exp_sums(x, vocab_size_, max, inverse_t, sums_.data());
  double total = 0;
  for (float sum : sums_) total += sum;
  // A little more than asked for, because the two masses are rounded differently.
  const double enough = total * top_p * (1 + 1e-6);
  for (float distance : {4.0f, 8.0f, 16.0f}) {
    if (Collect(x, max - distance * temperature, max, inverse_t) >= enough) return total;
  }
  Collect(x, kMinusInfinity, max, inverse_t);
  return total;
}

float Sampler::KthLargest(const float* x, int32_t k) {
  // The k-th largest of the blocks' maxima is a floor that at least k elements reach.
  float bound = kMinusInfinity;
  if (static_cast<size_t>(k) <= maxima_.size()) {
    std::ranges::copy(maxima_, values_.begin());
    std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.begin() + maxima_.size(),
                     std::greater<float>());
    bound = values_[k - 1];
  }
  const int64_t n = kernels_.at_least(x, vocab_size_, bound, ids_.data());
  for (int64_t i = 0; i < n; ++i) values_[i] = x[ids_[i]];
  std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.begin() + n,
                   std::greater<float>());
  return values_[k - 1];
}

// Quickselect by mass: the range [begin, end) always holds the cut, and `mass` is what it has to
// contribute. Expected time is linear in the candidates.
Sampler::Cut Sampler::CutAt(double mass) {
  for (int64_t i = 0; i < candidates_; ++i) pool_[i] = Candidate{weights_[i], ids_[i]};
  auto begin = pool_.begin();
  auto end = pool_.begin() + candidates_;
  while (begin != end) {
    const float a = begin->weight;
    const float b = (begin + (end - begin) / 2)->weight;
    const float c = (end - 1)->weight;
    const float pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    const auto equal =
        std::partition(begin, end, [pivot](const Candidate& x) { return x.weight > pivot; });
    const auto less =
        std::partition(equal, end, [pivot](const Candidate& x) { return x.weight == pivot; });
    double heavier = 0;
    for (auto it = begin; it != equal; ++it) heavier += it->weight;
    if (equal != begin && heavier >= mass) {
      end = equal;
      continue;
    }
    const double equals = static_cast<double>(pivot) * static_cast<double>(less - equal);
    if (heavier + equals >= mass) {
      const double needed = pivot > 0 ? std::ceil((mass - heavier) / pivot) : 1;
      const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(needed), 1, less - equal) - 1;
      const auto by_id = [](const Candidate& x, const Candidate& y) {
        return x.token_id < y.token_id;
      };
      std::nth_element(equal, equal + rank, less, by_id);
      return *(equal + rank);
    }
    mass -= heavier + equals;
    begin = less;
  }
  // Rounding asked for more than there is.
  return Cut{-1.0f, 0};
}

int32_t Sampler::DrawFromCandidates(Cut cut, double u) const {
  const auto kept = [cut](float weight, int32_t id) {
    return weight > cut.weight || (weight == cut.weight && id <= cut.token_id);
  };
  double total = 0;
  for (int64_t i = 0; i < candidates_; ++i) {
    if (kept(weights_[i], ids_[i])) total += weights_[i];
  }
  double left = u * total;
  int32_t chosen = ids_[0];
  for (int64_t i = 0; i < candidates_; ++i) {
    if (weights_[i] <= 0 || !kept(weights_[i], ids_[i])) continue;
    chosen = ids_[i];
    if (left < weights_[i]) break;
    left -= weights_[i];
  }
  return chosen;
}

}  // namespace mneme::schedule
