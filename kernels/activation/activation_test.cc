#include "kernels/activation/activation.h"

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

constexpr ActivationKind kKinds[] = {ActivationKind::kSwiglu, ActivationKind::kGelu,
                                     ActivationKind::kRelu};

struct Problem {
  Problem(int64_t rows_in, int64_t cols_in)
      : rows(rows_in),
        cols(cols_in),
        stride(cols_in + 3),
        a(Normal(rows_in * stride, 1)),
        g(Normal(rows_in * stride, 2)) {
    for (float& f : a) f *= 3;
    for (float& f : g) f *= 8;
  }

  ActivationArgs Args(ActivationKind kind, std::vector<float>& y) const {
    y.assign(a.size(), -77.0f);
    ActivationArgs args;
    args.kind = kind;
    args.a = {a.data(), rows, cols, stride};
    if (kind == ActivationKind::kSwiglu) args.g = {g.data(), rows, cols, stride};
    args.y = {y.data(), rows, cols, stride};
    return args;
  }

  int64_t rows;
  int64_t cols;
  int64_t stride;
  std::vector<float> a, g;
};

const Problem kProblems[] = {{1, 1}, {2, 15}, {3, 16}, {1, 17}, {5, 100}, {2, 512}, {0, 8}};

// The reference's exp and erf are within one ulp (two units) of the truth, and three operations
// round beside them; the implementation errs as activation.h says.
double Tolerance(ActivationKind kind, float a, float want) {
  switch (kind) {
    case ActivationKind::kSwiglu:
      return (10 + 8) * kUnit * std::fabs(want) + std::numeric_limits<float>::min();
    case ActivationKind::kGelu:
      return 2e-7 * std::max(1.0f, std::fabs(a));
    case ActivationKind::kRelu:
      return 0;
  }
  return 0;
}

TEST(ActivationTest, MatchesTheReferenceAtOddShapes) {
  for (const Problem& p : kProblems) {
    for (ActivationKind kind : kKinds) {
      std::vector<float> want, got;
      const Traffic traffic = ActivationReference(p.Args(kind, want));
      for (Isa isa : RunnableIsas()) {
        SCOPED_TRACE(std::string(IsaName(isa)) + " kind " + std::to_string(static_cast<int>(kind)) +
                     " cols " + std::to_string(p.cols));
        EXPECT_EQ(ResolveActivation(kind, isa)(p.Args(kind, got)), traffic);
        for (size_t i = 0; i < want.size(); ++i) {
          const bool inside = static_cast<int64_t>(i) % p.stride < p.cols;
          const double tolerance = inside ? Tolerance(kind, p.a[i], want[i]) : 0;
          ASSERT_NEAR(got[i], want[i], tolerance) << i;
        }
      }
    }
  }
}

TEST(ActivationTest, ARowAloneHasTheBitsItHasInABatch) {
  for (const Problem& p : kProblems) {
    for (ActivationKind kind : kKinds) {
      for (Isa isa : RunnableIsas()) {
        std::vector<float> batch, alone;
        const ActivationArgs all = p.Args(kind, batch);
        ResolveActivation(kind, isa)(all);
        for (int64_t r = 0; r < p.rows; ++r) {
          ActivationArgs args = p.Args(kind, alone);
          args.a = args.a.Rows(r, 1);
          if (!args.g.empty()) args.g = args.g.Rows(r, 1);
          args.y = args.y.Rows(r, 1);
          ResolveActivation(kind, isa)(args);
          for (int64_t c = 0; c < p.cols; ++c) ASSERT_EQ(args.y.row(0)[c], all.y.row(r)[c]);
        }
      }
    }
  }
}

TEST(ActivationTest, AnElementHasTheSameBitsAtEveryPlaceInARow) {
  // Rows of one value: a lane of a whole vector and of a partial one must agree.
  const std::vector<float> a(37, 0.7f);
  const std::vector<float> g(37, -1.3f);
  for (ActivationKind kind : kKinds) {
    for (Isa isa : RunnableIsas()) {
      std::vector<float> y(37);
      ActivationArgs args;
      args.kind = kind;
      args.a = MakeMatrix(a.data(), 1, 37);
      args.g = MakeMatrix(g.data(), 1, 37);
      args.y = MakeMatrix(y.data(), 1, 37);
      ResolveActivation(kind, isa)(args);
      EXPECT_EQ(y, std::vector<float>(37, y[0])) << IsaName(isa);
    }
  }
}

TEST(ActivationTest, WorksInPlaceOverEitherInput) {
  const Problem p(3, 50);
  for (ActivationKind kind : kKinds) {
    for (Isa isa : RunnableIsas()) {
      std::vector<float> apart;
      const ActivationArgs args = p.Args(kind, apart);
      ResolveActivation(kind, isa)(args);
      std::vector<float> a = p.a;
      std::vector<float> g = p.g;
      ActivationArgs over_a = args;
      over_a.a.data = over_a.y.data = a.data();
      ResolveActivation(kind, isa)(over_a);
      for (int64_t c = 0; c < 50; ++c) ASSERT_EQ(over_a.y.row(2)[c], args.y.row(2)[c]);
      if (kind != ActivationKind::kSwiglu) continue;
      ActivationArgs over_g = args;
      over_g.g.data = over_g.y.data = g.data();
      ResolveActivation(kind, isa)(over_g);
      for (int64_t c = 0; c < 50; ++c) ASSERT_EQ(over_g.y.row(2)[c], args.y.row(2)[c]);
    }
  }
}

TEST(ActivationTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Problem& p : kProblems) {
    for (ActivationKind kind : kKinds) {
      std::vector<float> x, y;
      ResolveActivation(kind, Isa::kAvx2)(p.Args(kind, x));
      ResolveActivation(kind, Isa::kAvx512)(p.Args(kind, y));
      EXPECT_EQ(x, y);
    }
  }
}

TEST(ActivationTest, NaNIsKept) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float one = 1;
  for (ActivationKind kind : kKinds) {
    for (Isa isa : RunnableIsas()) {
      float y = 0;
      ActivationArgs args;
      args.kind = kind;
      args.a = MakeMatrix(&nan, 1, 1);
      args.g = MakeMatrix(&one, 1, 1);
      args.y = MakeMatrix(&y, 1, 1);
      ResolveActivation(kind, isa)(args);
      EXPECT_TRUE(std::isnan(y));
    }
  }
}

TEST(ActivationTest, CountsTheGateOnlyWhereThereIsOne) {
  const Problem p(2, 15);
  std::vector<float> y;
  const auto read = [&](ActivationKind kind) {
    return ResolveActivation(kind, DetectIsa())(p.Args(kind, y))
        .read_bytes[static_cast<int>(TrafficClass::kActivations)];
  };
  EXPECT_EQ(read(ActivationKind::kSwiglu), 240u);
  EXPECT_EQ(read(ActivationKind::kGelu), 120u);
  EXPECT_EQ(read(ActivationKind::kRelu), 120u);
}

}  // namespace
}  // namespace mneme::kernels
