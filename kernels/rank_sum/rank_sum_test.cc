#include "kernels/rank_sum/rank_sum.h"

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

TEST(RankSumTest, AddsInOrderAtOddShapes) {
  for (int ranks : {1, 2, 3, 5}) {
    for (int64_t rows : {0, 1, 3}) {
      for (int64_t cols : {1, 15, 16, 17, 300}) {
        const int64_t stride = cols + 5;
        std::vector<std::vector<float>> data;
        std::vector<const float*> addends;
        for (int r = 0; r < ranks; ++r) data.push_back(Normal(rows * stride, 10 + r));
        for (const auto& d : data) addends.push_back(d.data());
        std::vector<float> want(rows * cols);
        RankSumArgs args{addends, stride, {want.data(), rows, cols, cols}};
        const Traffic traffic = RankSumReference(args);
        if (rows > 0 && ranks == 3) {
          EXPECT_EQ(want.back(), (data[0][(rows - 1) * stride + cols - 1] +
                                  data[1][(rows - 1) * stride + cols - 1]) +
                                     data[2][(rows - 1) * stride + cols - 1]);
        }
        for (Isa isa : RunnableIsas()) {
          SCOPED_TRACE(std::string(IsaName(isa)) + " cols " + std::to_string(cols));
          std::vector<float> got(want.size(), -7.0f);
          args.y.data = got.data();
          EXPECT_EQ(ResolveRankSum(isa)(args), traffic);
          EXPECT_EQ(got, want);
        }
        const uint64_t bytes = static_cast<uint64_t>(rows * cols * 4);
        EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kExchange)],
                  (ranks - 1) * bytes);
      }
    }
  }
}

TEST(RankSumTest, WritesOverAnAddend) {
  const std::vector<float> a = Normal(40, 1);
  for (Isa isa : RunnableIsas()) {
    std::vector<float> y = Normal(40, 2);
    const std::vector<float> b = y;
    const float* addends[] = {a.data(), y.data()};
    ResolveRankSum(isa)({addends, 40, {y.data(), 1, 40, 40}});
    for (int i = 0; i < 40; ++i) EXPECT_EQ(y[i], a[i] + b[i]);
  }
}

}  // namespace
}  // namespace mneme::kernels
