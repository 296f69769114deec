#include "engine/schedule/logit_row.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using kernels::Isa;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= kernels::DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

std::vector<float> RandomRow(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

const int64_t kSizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 200, 1000, 4096, 50257};

TEST(LogitRowTest, BlockMaximaAreTheLargestOfEachBlock) {
  for (Isa isa : Isas()) {
    for (int64_t n : kSizes) {
      std::vector<float> x = RandomRow(n, 1);
      for (float& value : x) value -= 100;  // so that a zero of a padded lane would show
      std::vector<float> maxima(static_cast<size_t>(RowBlocks(n)));
      const float max = ResolveLogitRow(isa).block_maxima(x.data(), n, maxima.data());
      EXPECT_EQ(max, *std::ranges::max_element(x));
      for (int64_t b = 0; b < RowBlocks(n); ++b) {
        const auto end = x.begin() + std::min(n, (b + 1) * kRowBlock);
        ASSERT_EQ(maxima[b], *std::max_element(x.begin() + b * kRowBlock, end)) << n << " " << b;
      }
    }
  }
}

TEST(LogitRowTest, MaximaLeaveNanOutAndGiveMinusInfinityForNothing) {
  for (Isa isa : Isas()) {
    const std::vector<float> x = {kNan, -5.0f, kNan, -7.0f};
    float maximum = 0;
    EXPECT_EQ(ResolveLogitRow(isa).block_maxima(x.data(), 4, &maximum), -5.0f);
    const std::vector<float> nothing = {kNan, -kInf};
    EXPECT_EQ(ResolveLogitRow(isa).block_maxima(nothing.data(), 2, &maximum), -kInf);
  }
}

TEST(LogitRowTest, SeesAnyElementThatIsNotFinite) {
  for (Isa isa : Isas()) {
    for (int64_t n : {1, 17, 64, 1000}) {
      std::vector<float> x = RandomRow(n, 2);
      EXPECT_TRUE(ResolveLogitRow(isa).all_finite(x.data(), n));
      for (int64_t i : {int64_t{0}, n / 2, n - 1}) {
        for (float bad : {kNan, kInf, -kInf}) {
          std::vector<float> y = x;
          y[i] = bad;
          EXPECT_FALSE(ResolveLogitRow(isa).all_finite(y.data(), n)) << n << " " << i;
        }
      }
    }
  }
}

TEST(LogitRowTest, ExponentialsAndTheirSumsMatchDoublePrecision) {
  for (Isa isa : Isas()) {
    for (int64_t n : kSizes) {
      std::vector<float> x = RandomRow(n, 3);
      if (n > 2) x[1] = -kInf;
      const float max = *std::ranges::max_element(x);
      const float scale = 1.25f;
      std::vector<float> sums(static_cast<size_t>(RowBlocks(n)));
      std::vector<float> y(x.size());
      ResolveLogitRow(isa).exponentials(x.data(), n, max, scale, y.data(), sums.data());
      for (int64_t b = 0; b < RowBlocks(n); ++b) {
        double sum = 0;
        for (int64_t i = b * kRowBlock; i < std::min(n, (b + 1) * kRowBlock); ++i) {
          const double z = (static_cast<double>(x[i]) - max) * scale;
          const double e = std::exp(z);
          sum += e;
          // exp within 1.5 ulp, and its argument rounded twice: relative error |z| * 2^-23.
          ASSERT_NEAR(y[i], e, e * (2 + std::min(std::fabs(z), 1e3)) * 0x1p-22 + 1e-44);
        }
        // Largest argument about 40, plus the rounding of at most 64 additions.
        ASSERT_NEAR(sums[b], sum, sum * (42 * 0x1p-22 + 64 * 0x1p-24));
      }
      std::vector<float> only(sums.size());
      ResolveLogitRow(isa).exponentials(x.data(), n, max, scale, nullptr, only.data());
      EXPECT_EQ(only, sums);
    }
  }
}

TEST(LogitRowTest, MassesAndCountsOfWhatReachesAFloor) {
  for (Isa isa : Isas()) {
    for (int64_t n : kSizes) {
      std::vector<float> x = RandomRow(n, 5);
      for (float floor : {-1.0f, 0.0f, 2.5f, 100.0f, x[0], -kInf}) {
        std::vector<float> sums(static_cast<size_t>(RowBlocks(n)));
        ResolveLogitRow(isa).block_sums(x.data(), n, floor, sums.data());
        double mass = 0;
        double magnitude = 0;
        int64_t count = 0;
        std::vector<double> blocks(sums.size());
        for (int64_t i = 0; i < n; ++i) {
          if (x[i] < floor) continue;
          mass += x[i];
          magnitude += std::fabs(x[i]);
          ++count;
          blocks[i / kRowBlock] += x[i];
        }
        const MassAndCount got = ResolveLogitRow(isa).mass_at_least(x.data(), n, floor);
        EXPECT_EQ(got.count, count);
        EXPECT_NEAR(got.mass, mass, magnitude * 70 * 0x1p-24);
        for (size_t b = 0; b < sums.size(); ++b) {
          ASSERT_NEAR(sums[b], blocks[b], 64 * 12 * 8 * 0x1p-24);
        }
      }
    }
  }
}

TEST(LogitRowTest, FindsTheIndicesInARangeInOrder) {
  for (Isa isa : Isas()) {
    for (int64_t n : kSizes) {
      std::vector<float> x = RandomRow(n, 4);
      if (n > 3) x[3] = kNan;
      for (float floor : {-kInf, -1.0f, 0.0f, 2.5f, 100.0f, x[0]}) {
        for (float ceiling : {kInf, 1.0f, x[n - 1]}) {
          std::vector<int32_t> ids(x.size());
          ids.resize(static_cast<size_t>(
              ResolveLogitRow(isa).in_range(x.data(), n, floor, ceiling, ids.data())));
          std::vector<int32_t> expected;
          for (int64_t i = 0; i < n; ++i) {
            if (x[i] >= floor && x[i] < ceiling) expected.push_back(static_cast<int32_t>(i));
          }
          ASSERT_EQ(ids, expected) << n << " " << floor << " " << ceiling;
        }
      }
    }
  }
}

TEST(LogitRowTest, Avx2AndAvx512GiveTheSameBits) {
  if (kernels::DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  const std::vector<float> x = RandomRow(1000, 6);
  std::vector<float> a(RowBlocks(1000)), b(RowBlocks(1000));
  ResolveLogitRow(Isa::kAvx2).exponentials(x.data(), 1000, 9.0f, 0.7f, nullptr, a.data());
  ResolveLogitRow(Isa::kAvx512).exponentials(x.data(), 1000, 9.0f, 0.7f, nullptr, b.data());
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace mneme::schedule
