#include "kernels/row_gate/row_gate.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 1},   {2, 15}, {3, 16}, {1, 17},
                                                   {5, 100}, {0, 8},  {4, 64}};

// Rows further apart than they are long, in x, gate and y.
struct Problem {
  Problem(int64_t rows_in, int64_t cols_in) : rows(rows_in), cols(cols_in), stride(cols_in + 3) {
    std::mt19937 random(static_cast<uint32_t>(rows * 31 + cols));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < rows * stride; ++i) x.push_back(normal(random));
    for (int64_t i = 0; i < rows * 2; ++i) gate.push_back(4 * normal(random));
    y.assign(x.size(), -77.0f);
  }

  RowGateArgs Args() {
    return {.x = {x.data(), rows, cols, stride},
            .gate = {gate.data(), rows, 1, 2},
            .y = {y.data(), rows, cols, stride}};
  }

  int64_t rows;
  int64_t cols;
  int64_t stride;
  std::vector<float> x, gate, y;
};

TEST(RowGateTest, MatchesTheFormulaAtOddShapes) {
  for (const auto& [rows, cols] : kShapes) {
    Problem reference(rows, cols);
    const Traffic traffic = RowGateReference(reference.Args());
    std::vector<std::vector<float>> outputs = {reference.y};
    for (const Isa isa : RunnableIsas()) {
      Problem p(rows, cols);
      EXPECT_EQ(ResolveRowGate(isa)(p.Args()), traffic) << IsaName(isa);
      outputs.push_back(p.y);
    }
    for (const std::vector<float>& y : outputs) {
      for (int64_t i = 0; i < rows * reference.stride; ++i) {
        const int64_t t = i / reference.stride;
        if (i % reference.stride >= cols) {
          ASSERT_EQ(y[i], -77.0f);
          continue;
        }
        const double want = reference.x[i] / (1 + std::exp(-double{reference.gate[2 * t]}));
        // 3 ulp, each at most 2^-23 of the value.
        ASSERT_NEAR(y[i], want, 3 * std::ldexp(std::fabs(want), -23)) << i;
      }
    }
  }
}

TEST(RowGateTest, ARowAloneHasTheBitsItHasInABatchAndInPlace) {
  for (const auto& [rows, cols] : kShapes) {
    for (const Isa isa : RunnableIsas()) {
      Problem batch(rows, cols);
      ResolveRowGate(isa)(batch.Args());
      for (int64_t t = 0; t < rows; ++t) {
        Problem alone(rows, cols);
        RowGateArgs args = alone.Args();
        args.x = args.x.Rows(t, 1);
        args.gate = args.gate.Rows(t, 1);
        args.y = {alone.x.data() + t * alone.stride, 1, cols, alone.stride};
        ResolveRowGate(isa)(args);
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(args.y.row(0)[c], batch.y[t * batch.stride + c]) << IsaName(isa);
        }
      }
    }
  }
}

TEST(RowGateTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  Problem a(5, 100);
  Problem b(5, 100);
  ResolveRowGate(Isa::kAvx2)(a.Args());
  ResolveRowGate(Isa::kAvx512)(b.Args());
  EXPECT_EQ(a.y, b.y);
}

TEST(RowGateTest, NaNIsKept) {
  for (const Isa isa : RunnableIsas()) {
    Problem p(2, 3);
    p.gate[0] = std::numeric_limits<float>::quiet_NaN();
    p.x[p.stride] = std::numeric_limits<float>::quiet_NaN();
    ResolveRowGate(isa)(p.Args());
    EXPECT_TRUE(std::isnan(p.y[2])) << IsaName(isa);
    EXPECT_TRUE(std::isnan(p.y[p.stride])) << IsaName(isa);
    EXPECT_FALSE(std::isnan(p.y[p.stride + 1])) << IsaName(isa);
  }
}

TEST(RowGateTest, CountsBytesFromShapes) {
  Problem p(3, 16);
  const Traffic traffic = ResolveRowGate(DetectIsa())(p.Args());
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 17 * 4);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 16 * 4);
}

}  // namespace
}  // namespace mneme::kernels
