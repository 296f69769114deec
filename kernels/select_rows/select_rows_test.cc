#include "kernels/select_rows/select_rows.h"

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

TEST(SelectRowsTest, CopiesTheChosenRowsInTheOrderGiven) {
  const std::vector<int32_t> rows = {4, 0, 0, 2};
  for (int64_t cols : {1, 16, 33, 256}) {
    const int64_t stride = cols + 3;
    const std::vector<float> x = Normal(5 * stride, 1);
    SelectRowsArgs args;
    args.x = {x.data(), 5, cols, stride};
    args.rows = rows;
    std::vector<float> want(static_cast<size_t>(4 * stride), -77.0f);
    args.y = {want.data(), 4, cols, stride};
    const Traffic traffic = SelectRowsReference(args);
    EXPECT_EQ(want[0], x[static_cast<size_t>(4 * stride)]);
    for (Isa isa : RunnableIsas()) {
      std::vector<float> got(want.size(), -77.0f);
      args.y.data = got.data();
      EXPECT_EQ(ResolveSelectRows(isa)(args), traffic);
      EXPECT_EQ(got, want) << IsaName(isa) << " cols " << cols;
    }
    const uint64_t bytes = static_cast<uint64_t>(4 * cols * 4);
    EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], bytes + 16);
    EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], bytes);
  }
}

TEST(SelectRowsTest, NoRowsAreNoWork) {
  SelectRowsArgs args;
  args.y.cols = 8;
  EXPECT_EQ(ResolveSelectRows(DetectIsa())(args), Traffic());
}

}  // namespace
}  // namespace mneme::kernels
