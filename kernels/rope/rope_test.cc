#include "kernels/rope/rope.h"

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

constexpr double kUnit = 0x1p-24;  // half a unit in the last place of 1

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& f : x) f = normal(random);
  return x;
}

struct Problem {
  Problem(int64_t tokens, int64_t heads, int64_t head_dim)
      : cols(heads * head_dim), stride(cols + 3), width(head_dim) {
    x = Normal(tokens * stride, 1);
    const int64_t half = head_dim / 2;
    cos.resize(static_cast<size_t>(kPositions * half));
    sin.resize(cos.size());
    FillRopeTables(RopeFrequencies(10000.0f, head_dim), 1.0f, {0, kPositions}, cos.data(),
                   sin.data());
    for (int64_t t = 0; t < tokens; ++t) {
      positions.push_back(static_cast<int32_t>((t * 37 + 5) % kPositions));
    }
  }

  RopeArgs Args(std::vector<float>& data) const {
    data = x;
    RopeArgs args;
    args.x = {data.data(), static_cast<int64_t>(positions.size()), cols, stride};
    args.head_dim = width;
    args.positions = positions;
    args.cos = MakeMatrix<const float>(cos.data(), kPositions, width / 2);
    args.sin = MakeMatrix<const float>(sin.data(), kPositions, width / 2);
    return args;
  }

  static constexpr int64_t kPositions = 64;
  int64_t cols;
  int64_t stride;
  int64_t width;
  std::vector<float> x, cos, sin;
  std::vector<int32_t> positions;
};

const Problem kProblems[] = {{1, 1, 2},  {3, 2, 8},   {2, 3, 34},  {5, 8, 32},
                             {4, 4, 64}, {1, 2, 128}, {3, 1, 100}, {0, 2, 16}};

TEST(RopeTest, MatchesTheReferenceAtOddShapes) {
  for (const Problem& p : kProblems) {
    std::vector<float> want, got;
    const Traffic traffic = RopeReference(p.Args(want));
    for (Isa isa : RunnableIsas()) {
      SCOPED_TRACE(std::string(IsaName(isa)) + " head_dim " + std::to_string(p.width));
      EXPECT_EQ(ResolveRope(isa)(p.Args(got)), traffic);
      for (size_t at = 0; at < want.size(); ++at) {
        const int64_t c = static_cast<int64_t>(at) % p.stride;
        if (c >= p.cols) {
          ASSERT_EQ(got[at], p.x[at]) << "wrote beyond the row";
          continue;
        }
        // Two products and a sum round, in reference and implementation, by a unit each of at most
        // |a| + |b|, the two elements of the pair.
        const int64_t half = p.width / 2;
        const size_t pair =
            c % p.width < half ? at + static_cast<size_t>(half) : at - static_cast<size_t>(half);
        const double bound = std::fabs(p.x[at]) + std::fabs(p.x[pair]);
        ASSERT_NEAR(got[at], want[at], 2 * 3 * kUnit * bound) << at;
      }
    }
  }
}

TEST(RopeTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Problem& p : kProblems) {
    for (Isa isa : RunnableIsas()) {
      std::vector<float> batch, alone;
      const RopeArgs all = p.Args(batch);
      ResolveRope(isa)(all);
      for (int64_t t = 0; t < all.x.rows; ++t) {
        RopeArgs args = p.Args(alone);
        args.x = args.x.Rows(t, 1);
        args.positions = args.positions.subspan(static_cast<size_t>(t), 1);
        ResolveRope(isa)(args);
        for (int64_t c = 0; c < p.cols; ++c) ASSERT_EQ(args.x.row(0)[c], all.x.row(t)[c]);
      }
    }
  }
}

TEST(RopeTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Problem& p : kProblems) {
    std::vector<float> a, b;
    ResolveRope(Isa::kAvx2)(p.Args(a));
    ResolveRope(Isa::kAvx512)(p.Args(b));
    EXPECT_EQ(a, b);
  }
}

TEST(RopeTest, PositionZeroChangesNothingAndLengthsStay) {
  Problem p(1, 2, 32);
  p.positions[0] = 0;
  std::vector<float> x;
  ResolveRope(DetectIsa())(p.Args(x));
  EXPECT_EQ(x, p.x);
  p.positions[0] = 63;
  ResolveRope(DetectIsa())(p.Args(x));
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_NEAR(std::hypot(x[i], x[i + 16]), std::hypot(p.x[i], p.x[i + 16]), 1e-6);
  }
  EXPECT_NE(x, p.x);
}

TEST(RopeTest, TablesHoldTheAnglesOfTheDefinition) {
  constexpr int64_t kHead = 8;
  std::vector<float> cos(100 * 4);
  std::vector<float> sin(100 * 4);
  constexpr float kScale = 1.25f;
  FillRopeTables(RopeFrequencies(500000.0f, kHead), kScale, {0, 100}, cos.data(), sin.data());
  for (int64_t p = 0; p < 100; ++p) {
    for (int64_t i = 0; i < 4; ++i) {
      const double f = std::pow(500000.0, -2.0 * static_cast<double>(i) / kHead);
      const double angle = static_cast<double>(p) * f;
      // Frequency and angle err by two units each, the function and the scale by one more of at
      // most 1 each.
      const double bound = 4 * kUnit * angle + 4 * kUnit;
      EXPECT_NEAR(cos[static_cast<size_t>(p * 4 + i)] / kScale, std::cos(angle), bound);
      EXPECT_NEAR(sin[static_cast<size_t>(p * 4 + i)] / kScale, std::sin(angle), bound);
    }
  }
}

TEST(RopeTest, CountsBytesFromShapes) {
  const Problem p(3, 2, 8);
  std::vector<float> x;
  const Traffic traffic = ResolveRope(DetectIsa())(p.Args(x));
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 3u * 8 * 4);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 16 * 4);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 16 * 4);
}

}  // namespace
}  // namespace mneme::kernels
