#include "engine/schedule/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

TEST(LogprobsTest, MatchesDoublePrecisionWithTheLikeliestFirst) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  for (auto [vocab, embedding] :
       {std::pair{1, 1}, {50, 64}, {61, 96}, {4096, 4096}, {5000, 5120}}) {
    Logprobs logprobs(vocab, embedding, ResolveLogitRow(kernels::DetectIsa()));
    std::vector<float> row(static_cast<size_t>(embedding));
    for (float& x : row) x = normal(random);
    for (int32_t i = vocab; i < embedding; ++i) row[i] += 5;  // padding that counts in the sum only
    if (vocab > 10) row[9] = row[4] = 30;                     // a tie at the top
    double total = 0;
    for (float x : row) total += std::exp(static_cast<double>(x));
    std::vector<int32_t> order(static_cast<size_t>(vocab));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&row](int32_t a, int32_t b) { return row[a] > row[b]; });
    std::vector<TokenLogprob> top;
    top.reserve(kMaxLogprobs);
    for (int32_t count : {0, 1, 5, kMaxLogprobs}) {
      float logprob = 0;
      const int32_t token = vocab / 2;
      ASSERT_TRUE(logprobs.Compute(row.data(), token, count, &logprob, &top));
      // Sum and logarithm in float32: relative error of the sum below 1e-5.
      EXPECT_NEAR(logprob, row[token] - std::log(total), 2e-5);
      ASSERT_EQ(top.size(), static_cast<size_t>(std::min(count, vocab)));
      for (size_t i = 0; i < top.size(); ++i) {
        EXPECT_EQ(top[i].token_id, order[i]);
        EXPECT_NEAR(top[i].logprob, row[order[i]] - std::log(total), 2e-5);
      }
    }
  }
}

TEST(LogprobsTest, RefusesARowThatIsNotFinite) {
  Logprobs logprobs(10, 12, ResolveLogitRow(kernels::DetectIsa()));
  std::vector<float> row(12, 0.0f);
  row[11] = std::numeric_limits<float>::quiet_NaN();
  float logprob = 7;
  std::vector<TokenLogprob> top;
  EXPECT_FALSE(logprobs.Compute(row.data(), 0, 0, &logprob, &top));
  EXPECT_EQ(logprob, 7);
}

}  // namespace
}  // namespace mneme::schedule
