#include "kernels/clamp/clamp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& f : x) f = normal(random);
  return x;
}

TEST(ClampTest, IsExactAtOddShapes) {
  for (int64_t rows : {0, 1, 3}) {
    for (int64_t cols : {1, 15, 16, 17, 256, 300}) {
      const int64_t stride = cols + 7;
      const std::vector<float> x = Normal(rows * stride, 1);
      std::vector<float> want = x;
      const Traffic traffic = ClampReference({{want.data(), rows, cols, stride}, 0.75f});
      for (size_t i = 0; i < x.size(); ++i) {
        if (static_cast<int64_t>(i) % stride < cols) {
          EXPECT_LE(std::fabs(want[i]), 0.75f);
        }
      }
      for (Isa isa : RunnableIsas()) {
        std::vector<float> got = x;
        EXPECT_EQ(ResolveClamp(isa)({{got.data(), rows, cols, stride}, 0.75f}), traffic);
        EXPECT_EQ(got, want) << IsaName(isa) << " cols " << cols;
      }
      const uint64_t bytes = static_cast<uint64_t>(rows * cols * 4);
      EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], bytes);
      EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], bytes);
    }
  }
}

TEST(ClampTest, KeepsNaNAndClampsInfinity) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (Isa isa : RunnableIsas()) {
    std::vector<float> x = {
        std::numeric_limits<float>::quiet_NaN(), kInf, -kInf, 0.0f, 8.0f, -8.5f};
    ResolveClamp(isa)({MakeMatrix(x.data(), 1, 6), 8.0f});
    EXPECT_TRUE(std::isnan(x[0]));
    EXPECT_EQ(x[1], 8.0f);
    EXPECT_EQ(x[2], -8.0f);
    EXPECT_EQ(x[3], 0.0f);
    EXPECT_EQ(x[4], 8.0f);
    EXPECT_EQ(x[5], -8.0f);
  }
}

}  // namespace
}  // namespace mneme::kernels
