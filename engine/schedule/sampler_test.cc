#include "engine/schedule/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

const LogitRowKernels& Kernels() { return ResolveLogitRow(kernels::DetectIsa()); }

std::vector<float> RandomRow(int32_t n, uint32_t seed, float spread = 3.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

// The definition, by sorting everything, in double precision: each token's probability of being
// drawn from logits that steps 1 to 4 have processed.
std::vector<double> Distribution(const std::vector<float>& x, const SamplingParams& params) {
  const size_t n = x.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&x](size_t a, size_t b) { return x[a] > x[b]; });
  const double max = x[order[0]];
  std::vector<double> p(n);
  for (size_t i = 0; i < n; ++i) p[i] = std::exp((x[i] - max) / params.temperature);
  for (double& value : p) {
    if (value < params.min_p) value = 0;
  }
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < n) {
    const float kth = x[order[static_cast<size_t>(params.top_k) - 1]];
    for (size_t i = 0; i < n; ++i) {
      if (x[i] < kth) p[i] = 0;
    }
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  if (params.top_p < 1) {
    double mass = 0;
    for (size_t i : order) {
      if (mass >= params.top_p * total) p[i] = 0;
      mass += p[i];
    }
  }
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= kept;
  return p;
}

// Draws many times and compares with the definition: nothing impossible is drawn, and the
// chi-square statistic of the possible tokens is within five standard deviations of its mean.
void ExpectDistribution(const std::vector<float>& row, const std::vector<float>& processed,
                        const SamplingParams& params, const Draw& draw_with) {
  Sampler sampler(static_cast<int32_t>(row.size()), Kernels());
  const std::vector<double> p = Distribution(processed, params);
  constexpr int kDraws = 20000;
  std::map<int32_t, int> count;
  Draw draw = draw_with;
  draw.params = &params;
  for (int i = 0; i < kDraws; ++i) {
    draw.position = i;
    ++count[sampler.Sample(row.data(), draw)];
  }
  double chi_square = 0;
  double cells = 0;
  double rare_expected = 0;
  double rare_count = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const int drawn = count.count(static_cast<int32_t>(i)) ? count[static_cast<int32_t>(i)] : 0;
    if (p[i] == 0) {
      ASSERT_EQ(drawn, 0) << "token " << i << " cannot be drawn";
      continue;
    }
    const double expected = p[i] * kDraws;
    if (expected < 10) {
      rare_expected += expected;
      rare_count += drawn;
      continue;
    }
    chi_square += (drawn - expected) * (drawn - expected) / expected;
    cells += 1;
  }
  if (rare_expected > 1) {
    chi_square += (rare_count - rare_expected) * (rare_count - rare_expected) / rare_expected;
    cells += 1;
  }
  EXPECT_LT(chi_square, cells + 5 * std::sqrt(2 * cells) + 5) << cells << " cells";
}

TEST(SamplerTest, GreedyTakesTheLargestAndOfEqualsTheLowestId) {
  for (int32_t n : {1, 3, 64, 65, 500, 50257}) {
    Sampler sampler(n, Kernels());
    std::vector<float> row = RandomRow(n, static_cast<uint32_t>(n));
    SamplingParams params;
    params.temperature = 0;
    const Draw draw{.params = &params};
    EXPECT_EQ(sampler.Sample(row.data(), draw), std::ranges::max_element(row) - row.begin());
    for (int32_t twin : {n - 1, n / 2, n / 3}) {
      row[static_cast<size_t>(twin)] = 99.0f;
      EXPECT_EQ(sampler.Sample(row.data(), draw), twin);
    }
  }
}

TEST(SamplerTest, IdsBeyondTheVocabularyAreNeverLookedAt) {
  std::vector<float> row = RandomRow(40, 1);
  row[33] = 1000;
  row[35] = std::numeric_limits<float>::quiet_NaN();
  Sampler sampler(30, Kernels());
  for (float temperature : {0.0f, 1.0f}) {
    SamplingParams params;
    params.temperature = temperature;
    for (int32_t position = 0; position < 200; ++position) {
      const int32_t token =
          sampler.Sample(row.data(), Draw{.params = &params, .position = position});
      EXPECT_GE(token, 0);
      EXPECT_LT(token, 30);
    }
  }
}

TEST(SamplerTest, PlainTemperatureDrawsFromTheSoftmax) {
  for (float temperature : {0.3f, 1.0f, 2.5f}) {
    SamplingParams params;
    params.temperature = temperature;
    const std::vector<float> row = RandomRow(300, 7);
    ExpectDistribution(row, row, params, {});
  }
}

TEST(SamplerTest, EachFilterAndTheirCombinationsMatchTheDefinition) {
  for (float top_p : {1.0f, 0.9f, 0.5f, 0.01f}) {
    for (int32_t top_k : {0, -1, 1, 3, 50, 299, 1000}) {
      for (float min_p : {0.0f, 0.05f, 1.0f}) {
        SamplingParams params;
        params.temperature = 1.3f;
        params.top_p = top_p;
        params.top_k = top_k;
        params.min_p = min_p;
        const std::vector<float> row = RandomRow(300, 8, 1.5f);
        SCOPED_TRACE(testing::Message()
                     << "top_p " << top_p << " top_k " << top_k << " min_p " << min_p);
        ExpectDistribution(row, row, params, {});
      }
    }
  }
}

TEST(SamplerTest, TiesStayWithTopKAndGoByIdWithTopP) {
  const std::vector<float> row = {0, 1, 1, 1, 0};
  Sampler sampler(5, Kernels());
  SamplingParams top_k;
  top_k.top_k = 1;
  SamplingParams top_p;
  top_p.top_p = 0.4f;  // one of the three ones holds 0.27, two hold 0.53
  std::map<int32_t, int> by_k, by_p;
  for (int32_t i = 0; i < 300; ++i) {
    ++by_k[sampler.Sample(row.data(), Draw{.params = &top_k, .position = i})];
    ++by_p[sampler.Sample(row.data(), Draw{.params = &top_p, .position = i})];
  }
  EXPECT_EQ(by_k.size(), 3u);
  EXPECT_EQ(by_p.size(), 2u);
  EXPECT_EQ(by_p.count(1) + by_p.count(2), 2u);
}

TEST(SamplerTest, AFlatRowWithTopPKeepsTheRightShare) {
  const std::vector<float> row(1000, 0.5f);
  SamplingParams params;
  params.top_p = 0.25f;
  Sampler sampler(1000, Kernels());
  for (int32_t i = 0; i < 2000; ++i) {
    EXPECT_LT(sampler.Sample(row.data(), Draw{.params = &params, .position = i}), 250);
  }
}

TEST(SamplerTest, ProcessingFollowsItsOrder) {
  const int32_t n = 100;
  const std::vector<float> row = RandomRow(n, 9, 1.0f);
  const std::vector<int32_t> prompt = {1, 2, 3, 3, 50};
  TokenCounts counts(prompt, 20);
  for (int32_t token : {3, 3, 3, 60, 61, 61}) counts.AddOutput(token);
  SamplingParams params;
  params.temperature = 0.8f;
  params.repetition_penalty = 1.7f;
  params.presence_penalty = 0.4f;
  params.frequency_penalty = -0.3f;
  params.logit_bias = {{2, 2.5f}, {3, 1.0f}, {61, -0.5f}, {5, 50.0f}};
  const std::vector<int32_t> suppressed = {5, 7};

  std::vector<float> expected = row;
  for (int32_t id : suppressed) expected[id] = -std::numeric_limits<float>::infinity();
  for (const auto& [id, bias] : params.logit_bias) expected[id] += bias;
  for (int32_t id : {1, 2, 3, 50, 60, 61}) {
    expected[id] = expected[id] > 0 ? expected[id] / 1.7f : expected[id] * 1.7f;
  }
  const std::map<int32_t, int> output = {{3, 3}, {60, 1}, {61, 2}};
  for (const auto& [id, count] : output) {
    expected[id] -= -0.3f * static_cast<float>(count);
    expected[id] -= 0.4f;
  }
  ExpectDistribution(row, expected, params, Draw{.suppressed = suppressed, .counts = &counts});
}

TEST(SamplerTest, TheTokenDependsOnSeedChoiceAndPositionOnly) {
  const std::vector<float> row = RandomRow(500, 10);
  const std::vector<float> other = RandomRow(500, 11);
  SamplingParams params;
  params.top_p = 0.95f;
  Sampler a(500, Kernels());
  Sampler b(500, Kernels());
  int differs = 0;
  for (int32_t i = 0; i < 100; ++i) {
    const Draw draw{.params = &params, .seed = 42, .choice = 1, .position = i};
    Draw stranger = draw;
    stranger.seed = 43;
    b.Sample(other.data(), stranger);  // what else the sampler did must not matter
    EXPECT_EQ(a.Sample(row.data(), draw), b.Sample(row.data(), draw));
    differs += a.Sample(row.data(), draw) != a.Sample(row.data(), stranger);
  }
  EXPECT_GT(differs, 30);
}

TEST(SamplerTest, LogitsThatAreNotFiniteAreReported) {
  SamplingParams params;
  Sampler sampler(100, Kernels());
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> row = RandomRow(100, 12);
    row[70] = bad;
    EXPECT_EQ(sampler.Sample(row.data(), Draw{.params = &params}), Sampler::kNotFinite);
  }
}

TEST(SamplerTest, ExtremeParametersStillGiveAToken) {
  const std::vector<float> row = RandomRow(100, 13, 20.0f);
  std::vector<int32_t> all(100);
  std::iota(all.begin(), all.end(), 0);
  TokenCounts counts(all, 200);
  Sampler sampler(100, Kernels());
  for (float repetition : {1e-38f, 1e38f}) {
    for (float temperature : {0.0f, 1e-4f, 1e30f}) {
      SamplingParams params;
      params.temperature = temperature;
      params.repetition_penalty = repetition;
      params.top_p = 0.5f;
      const Draw draw{.params = &params, .counts = &counts};
      const int32_t token = sampler.Sample(row.data(), draw);
      EXPECT_GE(token, 0);
      EXPECT_LT(token, 100);
    }
  }
  SamplingParams params;
  EXPECT_EQ(sampler.Sample(row.data(), Draw{.params = &params, .suppressed = all}), 0);
}

}  // namespace
}  // namespace mneme::schedule
