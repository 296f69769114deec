#include "kernels/layer_norm/layer_norm.h"

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
    for (float& f : x) f = f * 2 + 3.0f;
    weight = Normal(s.width, 2);
    bias = Normal(s.width, 3);
  }

  LayerNormArgs Args(std::vector<float>& y) const {
    y.assign(static_cast<size_t>(shape.rows * stride), -77.0f);
    LayerNormArgs args;
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

// The mean errs by at most d = (n + 1)·u·mean|x|, which every x − mean inherits, and the variance
// as 2·d·σ + d² at most; its own sum errs relatively by (n + 3)·u. Reference and implementation
// both err; quotient, root, weight and inverse add a unit each, the bias rounds once more.
double Tolerance(const Problem& p, int64_t r, int64_t c) {
  const double n = static_cast<double>(p.shape.width);
  const int64_t i = c % p.shape.width;
  const float* x = &p.x[static_cast<size_t>(r * p.stride + c - i)];
  double sum = 0;
  double magnitude = 0;
  for (int64_t j = 0; j < p.shape.width; ++j) {
    sum += x[j];
    magnitude += std::fabs(x[j]);
  }
  const double mean = sum / n;
  double squares = 0;
  for (int64_t j = 0; j < p.shape.width; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const double variance = squares / n + 1e-5;
  const double d = (n + 1) * kUnit * magnitude / n + kUnit * std::fabs(x[i] - mean);
  const double weight = std::fabs(p.weight[static_cast<size_t>(i)]);
  const double scaled = std::fabs(x[i] - mean) / std::sqrt(variance) * weight;
  const double relative =
      (n / 2 + 8) * kUnit + (2 * d * std::sqrt(variance) + d * d) / (2 * variance);
  return 2 * (relative * scaled + weight * d / std::sqrt(variance) +
              kUnit * (scaled + std::fabs(p.bias[static_cast<size_t>(i)])));
}

std::string Name(const Problem& p, Isa isa) {
  return std::string(IsaName(isa)) + " rows " + std::to_string(p.shape.rows) + " cols " +
         std::to_string(p.shape.cols) + " width " + std::to_string(p.shape.width);
}

TEST(LayerNormTest, MatchesTheReferenceAtOddShapes) {
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    for (bool affine : {true, false}) {
      std::vector<float> want, got;
      LayerNormArgs reference = p.Args(want);
      if (!affine) reference.weight = reference.bias = nullptr;
      const Traffic traffic = LayerNormReference(reference);
      for (Isa isa : RunnableIsas()) {
        SCOPED_TRACE(Name(p, isa));
        LayerNormArgs args = p.Args(got);
        if (!affine) args.weight = args.bias = nullptr;
        EXPECT_EQ(ResolveLayerNorm(isa)(args), traffic);
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

TEST(LayerNormTest, ARowAloneHasTheBitsItHasInABatch) {
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    for (Isa isa : RunnableIsas()) {
      SCOPED_TRACE(Name(p, isa));
      std::vector<float> batch, alone;
      const LayerNormArgs all = p.Args(batch);
      ResolveLayerNorm(isa)(all);
      for (int64_t r = 0; r < shape.rows; ++r) {
        LayerNormArgs args = p.Args(alone);
        args.x = args.x.Rows(r, 1);
        args.y = args.y.Rows(r, 1);
        ResolveLayerNorm(isa)(args);
        for (int64_t c = 0; c < shape.cols; ++c) ASSERT_EQ(args.y.row(0)[c], all.y.row(r)[c]);
      }
    }
  }
}

TEST(LayerNormTest, WorksInPlace) {
  const Problem p({3, 130, 65});
  for (Isa isa : RunnableIsas()) {
    std::vector<float> apart;
    const LayerNormArgs args = p.Args(apart);
    ResolveLayerNorm(isa)(args);
    std::vector<float> x = p.x;
    LayerNormArgs in_place = args;
    in_place.x.data = in_place.y.data = x.data();
    ResolveLayerNorm(isa)(in_place);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < 130; ++c) ASSERT_EQ(in_place.y.row(r)[c], args.y.row(r)[c]);
    }
  }
}

TEST(LayerNormTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Shape& shape : kShapes) {
    const Problem p(shape);
    std::vector<float> a, b;
    ResolveLayerNorm(Isa::kAvx2)(p.Args(a));
    ResolveLayerNorm(Isa::kAvx512)(p.Args(b));
    EXPECT_EQ(a, b) << Name(p, Isa::kAvx512);
  }
}

TEST(LayerNormTest, CountsBytesFromShapes) {
  const Problem p({3, 96, 8});
  std::vector<float> y;
  LayerNormArgs args = p.Args(y);
  args.bias = nullptr;
  const Traffic traffic = ResolveLayerNorm(DetectIsa())(args);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 32u);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 1152u);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 1152u);
}

}  // namespace
}  // namespace mneme::kernels
