#include "kernels/square_sum/square_sum.h"

#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

// Around one vector (16) and a pair of them (32); a model's width; no rows, no columns.
constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 1},  {2, 15},   {3, 16}, {1, 17}, {5, 47},
                                                   {4, 64}, {2, 2048}, {0, 8},  {2, 0}};

// Rows further apart than they are long; sums in the second of three columns.
struct Problem {
  Problem(int64_t rows_in, int64_t cols_in) : rows(rows_in), cols(cols_in), stride(cols_in + 3) {
    std::mt19937 random(static_cast<uint32_t>(rows * 31 + cols));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * stride; ++i) x.push_back(3 * normal(random));
    y.assign(static_cast<size_t>(rows * 3), -77.0f);
  }

  SquareSumArgs Args() {
    return {.x = {x.data(), rows, cols, stride}, .y = {y.data() + 1, rows, 1, 3}};
  }

  int64_t rows;
  int64_t cols;
  int64_t stride;
  std::vector<float> x, y;
};

TEST(SquareSumTest, MatchesTheFormulaAtOddShapes) {
  for (const auto& [rows, cols] : kShapes) {
    Problem reference(rows, cols);
    const Traffic traffic = SquareSumReference(reference.Args());
    std::vector<std::vector<float>> outputs = {reference.y};
    for (const Isa isa : RunnableIsas()) {
      Problem p(rows, cols);
      EXPECT_EQ(ResolveSquareSum(isa)(p.Args()), traffic) << IsaName(isa);
      outputs.push_back(p.y);
    }
    for (const std::vector<float>& y : outputs) {
      for (int64_t t = 0; t < rows; ++t) {
        double want = 0;
        for (int64_t i = 0; i < cols; ++i) {
          const double f = reference.x[t * reference.stride + i];
          want += f * f;
        }
        // All terms are positive: cols roundings, and one of a square, of half a unit each.
        ASSERT_NEAR(y[t * 3 + 1], want, static_cast<double>(cols + 1) * std::ldexp(want, -24));
        EXPECT_EQ(y[t * 3], -77.0f);
        EXPECT_EQ(y[t * 3 + 2], -77.0f);
      }
    }
  }
}

TEST(SquareSumTest, ARowAloneHasTheBitsItHasInABatch) {
  for (const auto& [rows, cols] : kShapes) {
    for (const Isa isa : RunnableIsas()) {
      Problem batch(rows, cols);
      ResolveSquareSum(isa)(batch.Args());
      for (int64_t t = 0; t < rows; ++t) {
        float alone = 0;
        const SquareSumArgs args = {.x = batch.Args().x.Rows(t, 1), .y = {&alone, 1, 1, 1}};
        ResolveSquareSum(isa)(args);
        ASSERT_EQ(alone, batch.y[t * 3 + 1]) << IsaName(isa);
      }
    }
  }
}

TEST(SquareSumTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  Problem a(5, 100);
  Problem b(5, 100);
  ResolveSquareSum(Isa::kAvx2)(a.Args());
  ResolveSquareSum(Isa::kAvx512)(b.Args());
  EXPECT_EQ(a.y, b.y);
}

TEST(SquareSumTest, NaNAndInfinityAreKept) {
  for (const Isa isa : RunnableIsas()) {
    Problem p(3, 20);
    p.x[2] = std::numeric_limits<float>::quiet_NaN();
    p.x[p.stride + 18] = std::numeric_limits<float>::infinity();
    ResolveSquareSum(isa)(p.Args());
    EXPECT_TRUE(std::isnan(p.y[1])) << IsaName(isa);
    EXPECT_TRUE(std::isinf(p.y[4])) << IsaName(isa);
    EXPECT_TRUE(std::isfinite(p.y[7])) << IsaName(isa);
  }
}

TEST(SquareSumTest, CountsBytesFromShapes) {
  Problem p(3, 16);
  const Traffic traffic = ResolveSquareSum(DetectIsa())(p.Args());
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 16 * 4);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 4);
}

}  // namespace
}  // namespace mneme::kernels
