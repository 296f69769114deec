#include "kernels/addition/addition.h"

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

TEST(AdditionTest, IsExactAtOddShapesAndInPlace) {
  for (int64_t rows : {0, 1, 3}) {
    for (int64_t cols : {1, 15, 16, 17, 256, 300}) {
      const int64_t stride = cols + 7;
      const std::vector<float> a = Normal(rows * stride, 1);
      const std::vector<float> b = Normal(rows * stride, 2);
      std::vector<float> want(a.size(), -77.0f);
      AdditionArgs args;
      args.a = {a.data(), rows, cols, stride};
      args.b = {b.data(), rows, cols, stride};
      args.y = {want.data(), rows, cols, stride};
      const Traffic traffic = AdditionReference(args);
      if (rows > 0) {
        EXPECT_EQ(want[0], a[0] + b[0]);
      }
      for (Isa isa : RunnableIsas()) {
        SCOPED_TRACE(std::string(IsaName(isa)) + " cols " + std::to_string(cols));
        std::vector<float> got(a.size(), -77.0f);
        args.y.data = got.data();
        EXPECT_EQ(ResolveAddition(isa)(args), traffic);
        EXPECT_EQ(got, want);
        // y = a + y, then y = y + b; the gaps between rows keep what was in them.
        for (bool over_a : {true, false}) {
          std::vector<float> y = over_a ? a : b;
          AdditionArgs in_place = args;
          in_place.y.data = y.data();
          (over_a ? in_place.a : in_place.b).data = y.data();
          ResolveAddition(isa)(in_place);
          for (size_t i = 0; i < y.size(); ++i) {
            const bool inside = static_cast<int64_t>(i) % stride < cols;
            ASSERT_EQ(y[i], inside ? want[i] : (over_a ? a : b)[i]);
          }
        }
      }
      const uint64_t bytes = static_cast<uint64_t>(rows * cols * 4);
      EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 2 * bytes);
      EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], bytes);
    }
  }
}

}  // namespace
}  // namespace mneme::kernels
