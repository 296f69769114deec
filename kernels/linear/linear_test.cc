#include "kernels/linear/linear.h"

#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

struct Shape {
  int64_t tokens;
  int64_t in;
  int64_t out;
};

// Odd sizes around every tile, line and block: vectors of 16, lines of 32, tiles of 1, 2, 3, 4, 6
// and 8, prefetch distance of 1024, contraction blocks of 512, token blocks of 16 to 64.
const Shape kShapes[] = {
    {1, 1, 1},    {1, 16, 8},    {1, 17, 9},     {1, 33, 7},      {1, 2100, 13}, {1, 0, 3},
    {0, 16, 4},   {2, 64, 16},   {2, 31, 5},     {3, 47, 11},     {4, 256, 30},  {4, 15, 6},
    {5, 100, 6},  {5, 1, 2},     {6, 1025, 7},   {7, 2050, 9},    {16, 256, 33}, {17, 1040, 12},
    {65, 48, 19}, {131, 80, 14}, {21, 20000, 7}, {37, 11264, 13}, {5, 0, 7},     {70, 1100, 500},
};

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

// Inputs of one call, with rows further apart than they are long; gaps hold NaN, so that a value
// read from one shows.
struct Problem {
  Problem(Shape s, DType dtype) : shape(s), stride(s.in + 3), y_stride(s.out + 5), type(dtype) {
    std::mt19937 random(static_cast<uint32_t>(s.tokens * 7919 + s.in * 31 + s.out));
    std::normal_distribution<float> normal;
    x.assign(static_cast<size_t>(s.tokens * stride), std::nanf(""));
    wide.assign(static_cast<size_t>(s.out * stride), std::nanf(""));
    narrow.assign(wide.size(), ToBf16(std::nanf("")));
    bias.resize(static_cast<size_t>(s.out));
    for (int64_t t = 0; t < s.tokens; ++t) {
      for (int64_t i = 0; i < s.in; ++i) x[t * stride + i] = normal(random);
    }
    for (int64_t o = 0; o < s.out; ++o) {
      bias[o] = normal(random);
      for (int64_t i = 0; i < s.in; ++i) {
        narrow[o * stride + i] = ToBf16(normal(random));
        wide[o * stride + i] = ToFloat(narrow[o * stride + i]);
      }
    }
  }

  LinearArgs Args(std::vector<float>& y) const {
    y.assign(static_cast<size_t>(shape.tokens * y_stride), -77.0f);
    LinearArgs args;
    args.x = {x.data(), shape.tokens, shape.in, stride};
    args.w = type == DType::kF32
                 ? MakeTensorView(Matrix<const float>{wide.data(), shape.out, shape.in, stride})
                 : MakeTensorView(Matrix<const Bf16>{narrow.data(), shape.out, shape.in, stride});
    args.bias = bias.data();
    args.scale = 0.5f;
    args.y = {y.data(), shape.tokens, shape.out, y_stride};
    return args;
  }

  Shape shape;
  int64_t stride;
  int64_t y_stride;
  DType type;
  std::vector<float> x, wide, bias;
  std::vector<Bf16> narrow;
};

// Summing n products in any order errs by at most γ_n Σ|x·w|, γ_n = n·u / (1 - n·u), u = 2^-24;
// reference and implementation both do, and both round bias and scale.
double Tolerance(const Problem& p, int64_t t, int64_t o) {
  const double u = std::ldexp(1.0, -24);
  double magnitude = std::fabs(p.bias[o]);
  for (int64_t i = 0; i < p.shape.in; ++i) {
    magnitude += std::fabs(static_cast<double>(p.x[t * p.stride + i]) * p.wide[o * p.stride + i]);
  }
  const double n = static_cast<double>(p.shape.in) + 2;
  return 2 * 0.5 * (n * u / (1 - n * u)) * magnitude;
}

std::string Name(const Problem& p, Isa isa) {
  return std::string(IsaName(isa)) + " " + DTypeName(p.type) + " tokens " +
         std::to_string(p.shape.tokens) + " in " + std::to_string(p.shape.in) + " out " +
         std::to_string(p.shape.out);
}

TEST(LinearTest, MatchesTheReferenceAtOddShapes) {
  for (const Shape& shape : kShapes) {
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      const Problem p(shape, dtype);
      std::vector<float> want, got;
      const Traffic traffic = LinearReference(p.Args(want));
      for (Isa isa : Isas()) {
        SCOPED_TRACE(Name(p, isa));
        EXPECT_EQ(ResolveLinear(dtype, isa)(p.Args(got)), traffic);
        for (int64_t t = 0; t < shape.tokens; ++t) {
          for (int64_t o = 0; o < p.y_stride; ++o) {
            const int64_t at = t * p.y_stride + o;
            if (o >= shape.out) {
              ASSERT_EQ(got[at], -77.0f) << "wrote beyond the row, t " << t << " o " << o;
            } else {
              ASSERT_NEAR(got[at], want[at], Tolerance(p, t, o)) << "t " << t << " o " << o;
            }
          }
        }
      }
    }
  }
}

TEST(LinearTest, EveryTokenAndEveryOutputAloneHasTheBitsItHasInABatch) {
  for (const Shape& shape : kShapes) {
    for (DType dtype : {DType::kF32, DType::kBf16}) {
      const Problem p(shape, dtype);
      for (Isa isa : Isas()) {
        SCOPED_TRACE(Name(p, isa));
        const LinearFn linear = ResolveLinear(dtype, isa);
        std::vector<float> batch, alone, one;
        const LinearArgs all = p.Args(batch);
        linear(all);
        for (int64_t t = 0; t < shape.tokens; t += 1 + shape.tokens / 7) {
          LinearArgs args = p.Args(alone);
          args.x = args.x.Rows(t, 1);
          args.y = args.y.Rows(t, 1);
          linear(args);
          for (int64_t o = 0; o < shape.out; ++o) {
            ASSERT_EQ(args.y.row(0)[o], all.y.row(t)[o]) << "t " << t << " o " << o;
          }
        }
        // A slice of outputs, as a rank of a split has it.
        const int64_t o = shape.out / 2;
        LinearArgs args = p.Args(one);
        args.w.data = static_cast<const char*>(args.w.data) + o * p.stride * DTypeBytes(dtype);
        args.w.rows = 1;
        args.bias += o;
        linear(args);
        for (int64_t t = 0; t < shape.tokens; ++t) {
          ASSERT_EQ(args.y.row(t)[0], all.y.row(t)[o]) << "t " << t;
        }
      }
    }
  }
}

TEST(LinearTest, Bf16WeightsHaveTheBitsOfTheSameValuesInF32) {
  for (const Shape& shape : kShapes) {
    const Problem narrow(shape, DType::kBf16);
    const Problem wide(shape, DType::kF32);
    for (Isa isa : Isas()) {
      std::vector<float> a, b;
      ResolveLinear(DType::kBf16, isa)(narrow.Args(a));
      ResolveLinear(DType::kF32, isa)(wide.Args(b));
      EXPECT_EQ(a, b) << Name(narrow, isa);
    }
  }
}

TEST(LinearTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Shape& shape : kShapes) {
    const Problem p(shape, DType::kBf16);
    std::vector<float> a, b;
    ResolveLinear(DType::kBf16, Isa::kAvx2)(p.Args(a));
    ResolveLinear(DType::kBf16, Isa::kAvx512)(p.Args(b));
    EXPECT_EQ(a, b) << Name(p, Isa::kAvx512);
  }
}

TEST(LinearTest, CountsBytesFromShapes) {
  const Problem p({3, 10, 4}, DType::kBf16);
  std::vector<float> y;
  LinearArgs args = p.Args(y);
  Traffic traffic = ResolveLinear(DType::kBf16, DetectIsa())(args);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 80u + 16u);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], 120u);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], 48u);
  args.bias = nullptr;
  traffic = ResolveLinear(DType::kBf16, DetectIsa())(args);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kDenseWeights)], 80u);
}

}  // namespace
}  // namespace mneme::kernels
