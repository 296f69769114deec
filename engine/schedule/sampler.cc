#include "engine/schedule/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/schedule/philox.h"

namespace mneme::schedule {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreedyBelow = 1e-5f;
// A bisection ends when its range holds this few elements, which are then selected one by one, or
// after so many halvings: more would separate only weights that differ in their last bits.
constexpr int64_t kFewEnough = 128;
constexpr int kMostHalvings = 24;

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
      values_(processed_.size()),
      ids_(processed_.size()),
      weights_(processed_.size()),
      sums_(maxima_.size()),
      places_(processed_.size()),
      pool_(processed_.size()) {}

int32_t Sampler::Sample(const float* row, const Draw& draw) {
  if (!kernels_.all_finite(row, vocab_size_)) return kNotFinite;
  const SamplingParams& params = *draw.params;
  const float* x = Process(row, draw);
  const float max = kernels_.block_maxima(x, vocab_size_, maxima_.data());
  // Everything suppressed: the lowest id stands in for a distribution that does not exist.
  if (max == kMinusInfinity) return 0;
  if (params.temperature < kGreedyBelow) return Greedy(x, max);

  float floor = kMinusInfinity;
  if (params.min_p > 0) floor = max + std::log(params.min_p) * params.temperature;
  if (params.top_k > 0 && params.top_k < vocab_size_) {
    floor = std::max(floor, KthLargest(x, max, params.top_k));
  }
  Collect(x, floor, max, 1.0f / params.temperature);
  cut_ = 0;
  if (params.top_p < 1) CutTopP(params.top_p);
  return DrawCandidate(UniformAt(draw.seed, static_cast<uint32_t>(draw.choice),
                                 static_cast<uint32_t>(draw.position)));
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

void Sampler::Collect(const float* x, float floor, float max, float inverse_t) {
  all_ = floor == kMinusInfinity;
  if (all_) {
    candidates_ = vocab_size_;
  } else {
    candidates_ = kernels_.in_range(x, vocab_size_, floor, kInfinity, ids_.data());
    for (int64_t i = 0; i < candidates_; ++i) values_[i] = x[ids_[i]];
    x = values_.data();
  }
  kernels_.exponentials(x, candidates_, max, inverse_t, weights_.data(), sums_.data());
}

double Sampler::SumOfBlocks() const {
  double sum = 0;
  for (int64_t b = 0; b < RowBlocks(candidates_); ++b) sum += sums_[b];
  return sum;
}

float Sampler::KthLargest(const float* x, float max, int32_t k) {
  // The k-th largest of the blocks' maxima is a floor that at least k elements reach. A larger k
  // needs a search: low is always reached by at least k elements, high by fewer.
  float low = kMinusInfinity;
  float high = kInfinity;
  if (static_cast<size_t>(k) <= maxima_.size()) {
    std::ranges::copy(maxima_, values_.begin());
    std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.begin() + maxima_.size(),
                     std::greater<float>());
    low = values_[k - 1];
  } else {
    float distance = 1;
    for (int i = 0; i < kMostHalvings; ++i) {
      const float middle = low == kMinusInfinity ? max - distance : low + (high - low) / 2;
      distance *= 2;
      if (!(middle > low && middle < high)) break;
      const int64_t count = kernels_.mass_at_least(x, vocab_size_, middle).count;
      (count >= k ? low : high) = middle;
      if (high == kInfinity) high = std::nextafter(max, kInfinity);
      if (count >= k && count - k < kFewEnough) break;
    }
  }
  const int64_t above = high == kInfinity ? 0 : kernels_.mass_at_least(x, vocab_size_, high).count;
  const int64_t n = kernels_.in_range(x, vocab_size_, low, high, places_.data());
  for (int64_t i = 0; i < n; ++i) values_[i] = x[places_[i]];
  const int64_t rank = k - 1 - above;
  std::nth_element(values_.begin(), values_.begin() + rank, values_.begin() + n,
                   std::greater<float>());
  return values_[rank];
}

void Sampler::CutTopP(float top_p) {
  const double mass = SumOfBlocks() * top_p;
  // Bisects for a narrow range of weights that holds the cut: what weighs `low` or more reaches the
  // mass, what weighs `high` or more does not. The largest weight is about 1.
  float low = 0;
  float high = 2;
  double above = 0;
  int64_t count_low = candidates_;
  int64_t count_high = 0;
  float middle = 0.5f;
  for (int i = 0; i < kMostHalvings && count_low - count_high > kFewEnough; ++i) {
    const MassAndCount got = kernels_.mass_at_least(weights_.data(), candidates_, middle);
    if (got.mass >= mass) {
      low = middle;
      count_low = got.count;
    } else {
      high = middle;
      count_high = got.count;
      above = got.mass;
    }
    // By orders of magnitude until there is a lower end, then geometrically.
    const float next = low == 0 ? high * high * 0.25f : std::sqrt(low * high);
    if (!(next > low && next < high)) break;
    middle = next;
  }
  const int64_t n = kernels_.in_range(weights_.data(), candidates_, low, high, places_.data());
  for (int64_t i = 0; i < n; ++i) pool_[i] = Boundary{weights_[places_[i]], places_[i]};
  const Boundary cut = SelectByMass(n, mass - above);
  for (int64_t i = 0; i < n; ++i) {
    if (pool_[i].weight == cut.weight && pool_[i].place > cut.place) weights_[pool_[i].place] = 0;
  }
  // Weights below the cut stay in weights_, but their blocks' sums leave them out.
  cut_ = cut.weight;
  kernels_.block_sums(weights_.data(), candidates_, cut_, sums_.data());
}

// Quickselect by mass: the range [begin, end) always holds the cut, and `mass` is what it has to
// contribute. Expected time is linear.
Sampler::Boundary Sampler::SelectByMass(int64_t size, double mass) {
  auto begin = pool_.begin();
  auto end = pool_.begin() + size;
  while (begin != end) {
    const float a = begin->weight;
    const float b = (begin + (end - begin) / 2)->weight;
    const float c = (end - 1)->weight;
    const float pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    const auto equal =
        std::partition(begin, end, [pivot](const Boundary& x) { return x.weight > pivot; });
    const auto less =
        std::partition(equal, end, [pivot](const Boundary& x) { return x.weight == pivot; });
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
      const auto by_place = [](const Boundary& x, const Boundary& y) { return x.place < y.place; };
      std::nth_element(equal, equal + rank, less, by_place);
      return *(equal + rank);
    }
    mass -= heavier + equals;
    begin = less;
  }
  // Rounding asked for more than there is: everything stays.
  return Boundary{0, static_cast<int32_t>(candidates_)};
}

int32_t Sampler::DrawCandidate(double u) const {
  double left = u * SumOfBlocks();
  const int64_t blocks = RowBlocks(candidates_);
  int64_t block = 0;
  // What rounding leaves over falls to the last block, or token, with mass.
  int64_t last = 0;
  for (; block < blocks; ++block) {
    if (sums_[block] <= 0) continue;
    last = block;
    if (left < sums_[block]) break;
    left -= sums_[block];
  }
  const int64_t first = last * kRowBlock;
  const int64_t end = std::min(candidates_, first + kRowBlock);
  int64_t chosen = first;
  for (int64_t i = first; i < end; ++i) {
    if (weights_[i] <= 0 || weights_[i] < cut_) continue;
    chosen = i;
    if (left < weights_[i]) break;
    left -= weights_[i];
  }
  return all_ ? static_cast<int32_t>(chosen) : ids_[chosen];
}

}  // namespace mneme::schedule
