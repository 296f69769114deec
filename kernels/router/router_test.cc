#include "kernels/router/router.h"

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  int64_t tokens;
  int64_t experts;
  int64_t top_k;
};

// Around vectors of 16, the 64 that TopK ranks, the experts of the families, and the most.
const Shape kShapes[] = {{1, 1, 1},    {3, 2, 1},   {2, 5, 5},     {4, 8, 2},     {7, 12, 4},
                         {5, 16, 16},  {3, 17, 3},  {9, 64, 8},    {2, 60, 4},    {6, 128, 8},
                         {2, 100, 64}, {2, 90, 70}, {1, 256, 256}, {2, 1024, 10}, {0, 64, 8}};

// Inputs and outputs of one call, with rows further apart than they are long.
struct Problem {
  explicit Problem(Shape s) : shape(s), stride(s.experts + 3), out_stride(s.top_k + 5) {
    std::mt19937 random(static_cast<uint32_t>(s.tokens * 31 + s.experts));
    std::normal_distribution<float> normal(0, 2);
    // Gaps are the greatest of all: who reads one chooses it.
    logits.assign(static_cast<size_t>(s.tokens * stride + 1), kInf);
    for (int64_t t = 0; t < s.tokens; ++t) {
      for (int64_t e = 0; e < s.experts; ++e) logits[t * stride + e] = normal(random);
    }
  }

  RouterArgs Args(bool renormalise) {
    expert.assign(static_cast<size_t>(shape.tokens * out_stride + 1), -7);
    weight.assign(expert.size(), -7.0f);
    return {.logits = {logits.data(), shape.tokens, shape.experts, stride},
            .renormalise = renormalise,
            .expert = {expert.data(), shape.tokens, shape.top_k, out_stride},
            .weight = {weight.data(), shape.tokens, shape.top_k, out_stride}};
  }

  Shape shape;
  int64_t stride;
  int64_t out_stride;
  std::vector<float> logits;
  std::vector<int32_t> expert;
  std::vector<float> weight;
};

// Numerator, denominator and quotient. An exponential errs by 2 units at most (ulps of 2u), its
// argument by half of its own ulp, u·|x − greatest|; sums of n positive terms by n·u.
double Tolerance(const Problem& p, double spread) {
  const double u = std::ldexp(1.0, -24);
  return 2 * u * (2 * (2 + spread) + static_cast<double>(p.shape.experts) + 1);
}

TEST(RouterTest, MatchesTheReferenceAtOddShapes) {
  for (const Shape& shape : kShapes) {
    for (const bool renormalise : {false, true}) {
      Problem want(shape);
      const Traffic traffic = RouterReference(want.Args(renormalise));
      for (const Isa isa : RunnableIsas()) {
        SCOPED_TRACE(std::string(IsaName(isa)) + " experts " + std::to_string(shape.experts) +
                     " top " + std::to_string(shape.top_k) + (renormalise ? " renormalised" : ""));
        Problem got(shape);
        EXPECT_EQ(ResolveRouter(isa)(got.Args(renormalise)), traffic);
        // Ids, and what lies between the rows.
        EXPECT_EQ(got.expert, want.expert);
        for (size_t i = 0; i < got.weight.size(); ++i) {
          const double tolerance = want.weight[i] < 0 ? 0 : want.weight[i] * Tolerance(want, 20);
          ASSERT_NEAR(got.weight[i], want.weight[i], tolerance) << i;
        }
      }
    }
  }
}

TEST(RouterTest, WeightsAreASoftmaxOverAllOrOverTheChosen) {
  for (const Isa isa : RunnableIsas()) {
    Problem p({1, 4, 2});
    for (int e = 0; e < 4; ++e) p.logits[e] = std::log(static_cast<float>(4 - e));
    ResolveRouter(isa)(p.Args(false));
    EXPECT_EQ(p.expert[0], 0);
    EXPECT_EQ(p.expert[1], 1);
    EXPECT_NEAR(p.weight[0], 0.4, 1e-6);
    EXPECT_NEAR(p.weight[1], 0.3, 1e-6);
    ResolveRouter(isa)(p.Args(true));
    EXPECT_NEAR(p.weight[0], 4.0 / 7, 1e-6);
    EXPECT_NEAR(p.weight[1], 3.0 / 7, 1e-6);
  }
}

TEST(RouterTest, IdsAscendAndTiesGoToTheLower) {
  for (const Isa isa : RunnableIsas()) {
    for (const int64_t experts : {6, 40, 300}) {
      Problem p({1, experts, 3});
      std::fill_n(p.logits.begin(), experts, 0.5f);
      p.logits[4] = 1;
      ResolveRouter(isa)(p.Args(true));
      p.expert.resize(3);
      EXPECT_EQ(p.expert, (std::vector<int32_t>{0, 1, 4})) << IsaName(isa) << " " << experts;
      EXPECT_GT(p.weight[2], p.weight[0]);
      EXPECT_EQ(p.weight[0], p.weight[1]);
    }
  }
}

TEST(RouterTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Shape& shape : kShapes) {
    for (const Isa isa : RunnableIsas()) {
      Problem batch(shape);
      Problem alone(shape);
      const RouterArgs all = batch.Args(false);
      ResolveRouter(isa)(all);
      for (int64_t t = 0; t < shape.tokens; ++t) {
        RouterArgs args = alone.Args(false);
        args.logits = args.logits.Rows(t, 1);
        args.expert = args.expert.Rows(0, 1);
        args.weight = args.weight.Rows(0, 1);
        ResolveRouter(isa)(args);
        for (int64_t j = 0; j < shape.top_k; ++j) {
          ASSERT_EQ(args.expert.row(0)[j], all.expert.row(t)[j]);
          ASSERT_EQ(args.weight.row(0)[j], all.weight.row(t)[j]);
        }
      }
    }
  }
}

TEST(RouterTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Shape& shape : kShapes) {
    Problem a(shape);
    Problem b(shape);
    ResolveRouter(Isa::kAvx2)(a.Args(false));
    ResolveRouter(Isa::kAvx512)(b.Args(false));
    EXPECT_EQ(a.expert, b.expert);
    EXPECT_EQ(a.weight, b.weight);
  }
}

TEST(RouterTest, WhateverTheLogitsIdsAreDistinctAndInRange) {
  for (const Isa isa : RunnableIsas()) {
    for (const float filler : {kNaN, -kInf, kInf, 0.0f}) {
      for (const int64_t experts : {5, 64, 200}) {
        Problem p({1, experts, 5});
        std::fill_n(p.logits.begin(), experts, filler);
        p.logits[3] = kNaN;
        ResolveRouter(isa)(p.Args(false));
        std::set<int32_t> ids;
        for (int j = 0; j < 5; ++j) {
          EXPECT_GE(p.expert[j], 0);
          EXPECT_LT(p.expert[j], experts);
          ids.insert(p.expert[j]);
        }
        EXPECT_EQ(ids.size(), 5u) << IsaName(isa) << " " << filler << " " << experts;
      }
    }
  }
}

TEST(RouterTest, NaNIsChosenLastAndHasNoWeight) {
  for (const Isa isa : RunnableIsas()) {
    Problem p({1, 20, 19});
    p.logits[7] = kNaN;
    p.logits[9] = -kInf;
    ResolveRouter(isa)(p.Args(false));
    // Of the two that are least, the lower id.
    EXPECT_EQ(p.expert[7], 7) << IsaName(isa);
    EXPECT_EQ(p.weight[7], 0) << IsaName(isa);
    EXPECT_EQ(p.expert[9], 10) << IsaName(isa);
    float sum = 0;
    for (int j = 0; j < 19; ++j) sum += p.weight[j];
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

TEST(RouterTest, CountsBytesFromShapes) {
  Problem p({3, 64, 8});
  const Traffic traffic = ResolveRouter(DetectIsa())(p.Args(false));
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 64 * 4);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 3u * 8 * 8);
}

}  // namespace
}  // namespace mneme::kernels
