#include "kernels/rms_norm/rms_norm.h"

#include <algorithm>
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

constexpr double kUnit = 0x1p-24;  // half a unit in the last place of 1

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& f : x) f = normal(random);
  return x;
}

struct Shape {
  int64_t rows;
  int64_t cols;
  int64_t width;
};

// Widths around one vector (16) and one pair of vectors (32), whole rows and heads.
const Shape kShapes[] = {{1, 1, 1},   {2, 15, 15},     {3, 16, 16}, {2, 17, 17},  {5, 33, 33},
                         {1, 47, 47}, {4, 256, 256},   {3, 96, 8},  {2, 256, 32}, {7, 140, 20},
                         {0, 32, 32}, {2, 2048, 2048}, {1, 12, 3},  {3, 130, 65}};

struct Problem {
  explicit Problem(Shape s) : shape(s), stride(s.cols + 5) {
    x = Normal(s.rows * stride, 1);
    for (float& f : x) f = f * 2 + 0.5f;
    weight = Normal(s.width, 2);
    bias = Normal(s.width, 3);
  }

  RmsNormArgs Args(std::vector<float>& y) const {
    y.assign(static_cast<size_t>(shape.rows * stride), -77.0f);
    RmsNormArgs args;
    args.x = {x.data(), shape.rows, shape.cols, stride};
    args.width = shape.width;
    args.weight = weight.data();
    args.bias = bias.data();
    args.eps = 1e-5f;
    args.y = {y.data(), shape.rows, shape.cols, stride};
    return args;
  }

  Shape shape;
  int64_t stride;
  std::vector<float> x, weight, bias;
};

// A sum of n squares has only positive terms: its relative error is at most (n + 1)·u in any order,
// the root's half of that; quotient, root, weight and inverse add a unit each. Reference and
// implementation both err, and the bias rounds once more in each.
double Tolerance(const Problem& p, int64_t r, int64_t c) {
  const double n = static_cast<double>(p.shape.width);
  const int64_t i = c % p.shape.width;
  const float* x = &p.x[static_cast<size_t>(r * p.stride + c - i)];
  double squares = 0;
  for (int64_t j = 0; j < p.shape.width; ++j) squares += static_cast<double>(x[j]) * x[j];
  const double scaled =
      std::fabs(x[i] / std::sqrt(squares / n + 1e-5) * p.weight[static_cast<size_t>(i)]);
  const double relative = (n / 2 + 8) * kUnit;
  return 2 * (relative * scaled + kUnit * (scaled + std::fabs(p.bias[static_cast<size_t>(i)])));
}

std::string Name(const Problem& p, Isa isa) {
  return std::string(IsaName(isa)) + " rows " + std::to_string(p.shape.rows) + " cols " +
         std::to_string(p.shape.cols) + " width " + std::to_string(p.shape.width);
}

TEST(RmsNormTest, MatchesTheReferenceAtOddShapes) {
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    for (bool affine : {true, false}) {
      std::vector<float> want, got;
      RmsNormArgs reference = p.Args(want);
      if (!affine) reference.weight = reference.bias = nullptr;
      const Traffic traffic = RmsNormReference(reference);
      for (Isa isa : RunnableIsas()) {
        SCOPED_TRACE(Name(p, isa));
        RmsNormArgs args = p.Args(got);
        if (!affine) args.weight = args.bias = nullptr;
        EXPECT_EQ(ResolveRmsNorm(isa)(args), traffic);
        for (int64_t r = 0; r < shape.rows; ++r) {
          for (int64_t c = 0; c < p.stride; ++c) {
            const size_t at = static_cast<size_t>(r * p.stride + c);
            if (c >= shape.cols) {
              ASSERT_EQ(got[at], -77.0f) << "wrote beyond the row";
            } else {
              const double scale =
                  affine ? 1 : 1 / std::min(1.0f, std::fabs(p.weight[c % shape.width]));
              ASSERT_NEAR(got[at], want[at], scale * Tolerance(p, r, c)) << r << ", " << c;
            }
          }
        }
      }
    }
  }
}

TEST(RmsNormTest, ARowAloneHasTheBitsItHasInABatch) {
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    for (Isa isa : RunnableIsas()) {
      SCOPED_TRACE(Name(p, isa));
      std::vector<float> batch, alone;
      const RmsNormArgs all = p.Args(batch);
      ResolveRmsNorm(isa)(all);
      for (int64_t r = 0; r < shape.rows; ++r) {
        RmsNormArgs args = p.Args(alone);
        args.x = args.x.Rows(r, 1);
        args.y = args.y.Rows(r, 1);
        ResolveRmsNorm(isa)(args);
        for (int64_t c = 0; c < shape.cols; ++c) ASSERT_EQ(args.y.row(0)[c], all.y.row(r)[c]);
      }
    }
  }
}

TEST(RmsNormTest, WorksInPlace) {
  const Problem p({3, 130, 65});
  for (Isa isa : RunnableIsas()) {
    std::vector<float> apart;
    const RmsNormArgs args = p.Args(apart);
    ResolveRmsNorm(isa)(args);
    std::vector<float> x = p.x;
    RmsNormArgs in_place = args;
    in_place.x.data = in_place.y.data = x.data();
    ResolveRmsNorm(isa)(in_place);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < 130; ++c) ASSERT_EQ(in_place.y.row(r)[c], args.y.row(r)[c]);
    }
  }
}

TEST(RmsNormTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    std::vector<float> a, b;
    ResolveRmsNorm(Isa::kAvx2)(p.Args(a));
    ResolveRmsNorm(Isa::kAvx512)(p.Args(b));
    EXPECT_EQ(a, b) << Name(p, Isa::kAvx512);
  }
}

// The columns in two parts, each normed with the sum over both: what whole rows give.
TEST(RmsNormTest, PartsOfARowNormWithTheGivenSumOfItsSquares) {
  for (const auto& [cols, cut] : {std::pair{130, 65}, {48, 16}, {40, 33}, {2, 1}}) {
    const Problem p({3, cols, cols});
    std::vector<float> whole, parts;
    const RmsNormArgs all = p.Args(whole);
    RmsNormReference(all);
    std::vector<float> squares(6, -1.0f);  // in the second of two columns
    for (int64_t r = 0; r < 3; ++r) {
      squares[2 * r + 1] = 0;
      for (int64_t c = 0; c < cols; ++c) squares[2 * r + 1] += all.x.row(r)[c] * all.x.row(r)[c];
    }
    const auto run = [&, cols = cols, cut = cut](RmsNormFn norm) {
      RmsNormArgs args = p.Args(parts);
      args.squares = {squares.data() + 1, 3, 1, 2};
      Traffic traffic;
      for (const auto& [begin, end] : {std::pair{0, cut}, {cut, cols}}) {
        RmsNormArgs part = args;
        part.x = {args.x.data + begin, 3, end - begin, p.stride};
        part.y = {args.y.data + begin, 3, end - begin, p.stride};
        part.weight = args.weight + begin;
        part.bias = args.bias + begin;
        traffic += norm(part);
      }
      EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 8u * cols);
      EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)],
                12u * cols + 2 * 12);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < p.stride; ++c) {
          const size_t at = static_cast<size_t>(r * p.stride + c);
          ASSERT_NEAR(parts[at], whole[at], c < cols ? Tolerance(p, r, c) : 0) << r << ", " << c;
        }
      }
    };
    run(RmsNormReference);
    for (Isa isa : RunnableIsas()) run(ResolveRmsNorm(isa));
  }
}

TEST(RmsNormTest, CountsBytesFromShapes) {
  const Problem p({3, 96, 8});
  std::vector<float> y;
  RmsNormArgs args = p.Args(y);
  args.bias = nullptr;
  const Traffic traffic = ResolveRmsNorm(DetectIsa())(args);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 32u);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 1152u);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 1152u);
}

}  // namespace
}  // namespace mneme::kernels
