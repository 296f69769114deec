#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/simd/top_k.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The definition: a stable sort.
std::vector<int32_t> Sorted(const std::vector<float>& values, int32_t k) {
  std::vector<int32_t> places(values.size());
  std::iota(places.begin(), places.end(), 0);
  std::stable_sort(places.begin(), places.end(),
                   [&](int32_t a, int32_t b) { return values[a] > values[b]; });
  places.resize(k);
  return places;
}

// Empty where TopK gives up.
std::vector<int32_t> Ranked(Isa isa, std::vector<float> values, int32_t k, float least = -kInf) {
  const int32_t n = static_cast<int32_t>(values.size());
  // What lies behind the values must not matter.
  values.resize((values.size() + 15) / 16 * 16, kInf);
  std::vector<int32_t> places(k + 1);
  if (!MNEME_SIMD_SELECT(isa, TopK)(values.data(), n, k, least, places.data())) return {};
  places.resize(k);
  return places;
}

TEST(TopKTest, IsAStableSort) {
  std::mt19937 random(1);
  for (const Isa isa : RunnableIsas()) {
    int ranked = 0;
    int tried = 0;
    for (int round = 0; round < 2000; ++round) {
      const int32_t k = 1 + static_cast<int32_t>(random() % 64);
      const int32_t n = k + static_cast<int32_t>(random() % 600);
      // Few distinct values give many ties.
      const int distinct = round % 3 == 0 ? 40 : 1 << 20;
      std::vector<float> values(n);
      for (float& v : values) v = static_cast<float>(random() % distinct) - 0.5f * distinct;
      const std::vector<int32_t> places = Ranked(isa, values, k);
      tried += n >= 64;
      if (places.empty()) continue;
      ranked += n >= 64;
      ASSERT_EQ(places, Sorted(values, k)) << IsaName(isa) << " n " << n << " k " << k;
    }
    // Giving up is for odd cases.
    EXPECT_GT(ranked, isa == Isa::kPortable ? -1 : tried * 3 / 4) << IsaName(isa);
  }
}

TEST(TopKTest, TakesAKnownBound) {
  for (const Isa isa : RunnableIsas()) {
    if (isa == Isa::kPortable) continue;
    // Fewer values than lanes give no bound of their own.
    const std::vector<float> values = {3, 1, 3, 2, 5};
    EXPECT_TRUE(Ranked(isa, values, 3).empty());
    EXPECT_EQ(Ranked(isa, values, 3, 3), (std::vector<int32_t>{4, 0, 2}));
  }
}

TEST(TopKTest, GivesUpRatherThanGuess) {
  for (const Isa isa : RunnableIsas()) {
    // All alike: all survive.
    EXPECT_TRUE(Ranked(isa, std::vector<float>(1000, 1.0f), 16).empty());
    EXPECT_TRUE(Ranked(isa, std::vector<float>(64, kNaN), 16).empty());
    EXPECT_TRUE(Ranked(isa, std::vector<float>(64, -kInf), 16).empty());
    EXPECT_TRUE(Ranked(isa, std::vector<float>(1000, 0.0f), 65).empty());
  }
}

TEST(TopKTest, NaNIsNoneOfTheGreatest) {
  std::mt19937 random(2);
  for (const Isa isa : RunnableIsas()) {
    std::vector<float> values(320);
    for (float& v : values) v = static_cast<float>(random() % 100000);
    std::vector<float> with = values;
    for (size_t i = 0; i < values.size(); i += 7) {
      values[i] = -kInf;
      with[i] = kNaN;
    }
    const std::vector<int32_t> places = Ranked(isa, with, 16);
    ASSERT_EQ(places.empty(), isa == Isa::kPortable);
    if (!places.empty()) {
      EXPECT_EQ(places, Sorted(values, 16)) << IsaName(isa);
    }
  }
}

}  // namespace
}  // namespace mneme::kernels
