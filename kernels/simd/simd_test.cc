#include "kernels/simd/simd.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {
enum Unary { kExp, kSigmoid, kSilu, kErf, kGelu, kRound, kSqrt, kAbs };
enum Binary { kAdd, kSub, kMul, kDiv, kMax, kMin, kMulThenAdd, kMulAdd, kNegMulAdd, kChoose };
}  // namespace
}  // namespace mneme::kernels

#define MNEME_SIMD_BODY "kernels/simd/simd_test.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

std::vector<float> RunUnary(Isa isa, Unary op, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  MNEME_SIMD_SELECT(isa, TestUnary)(op, x.data(), y.data(), static_cast<int64_t>(x.size()));
  return y;
}

// Every 997th float from lo to hi, both of one sign or lo negative and hi positive, and the ends.
std::vector<float> Sweep(float lo, float hi) {
  std::vector<float> x = {lo, hi};
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 997) {
    const float f = std::bit_cast<float>(bits);
    if (f >= lo && f <= hi) x.push_back(f);
    if (-f >= lo && -f <= hi) x.push_back(-f);
  }
  return x;
}

double Ulp(double y) {
  const float f = std::max(std::fabs(static_cast<float>(y)), std::numeric_limits<float>::min());
  return static_cast<double>(std::nextafter(f, kInf)) - f;
}

template <class F>
double WorstUlps(Isa isa, Unary op, const std::vector<float>& x, F exact) {
  const std::vector<float> y = RunUnary(isa, op, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = exact(static_cast<double>(x[i]));
    worst = std::max(worst, std::fabs(y[i] - want) / Ulp(want));
  }
  return worst;
}

template <class F>
double WorstAbsolute(Isa isa, Unary op, const std::vector<float>& x, F exact) {
  const std::vector<float> y = RunUnary(isa, op, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double scale = std::max(1.0, std::fabs(static_cast<double>(x[i])));
    worst = std::max(worst, std::fabs(y[i] - exact(static_cast<double>(x[i]))) / scale);
  }
  return worst;
}

double ExactErf(double x) { return std::erf(x); }
double ExactGelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

TEST(SimdTest, ElementaryFunctionsAreAsExactAsTheySay) {
  for (Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    // MulAdd rounds twice on kPortable.
    const double more = isa == Isa::kPortable ? 1 : 0;
    EXPECT_LE(WorstUlps(isa, kExp, Sweep(-103, 88.7f), [](double x) { return std::exp(x); }),
              1.0 + more);
    EXPECT_LE(
        WorstUlps(isa, kSigmoid, Sweep(-87, 100), [](double x) { return 1 / (1 + std::exp(-x)); }),
        2.5 + more);
    EXPECT_LE(
        WorstUlps(isa, kSilu, Sweep(-80, 100), [](double x) { return x / (1 + std::exp(-x)); }),
        2.5 + more);
    EXPECT_LE(WorstUlps(isa, kErf, Sweep(-0.937f, 0.937f), ExactErf), 2.0 + more);
    EXPECT_LE(WorstAbsolute(isa, kErf, Sweep(-20, 20), ExactErf), 1e-7);
    EXPECT_LE(WorstAbsolute(isa, kGelu, Sweep(-50, 50), ExactGelu), 1e-7);
    EXPECT_LE(WorstUlps(isa, kSqrt, Sweep(0, 1e30f), [](double x) { return std::sqrt(x); }), 0.5);
  }
}

TEST(SimdTest, ElementaryFunctionsKeepTheirLimits) {
  for (Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    const std::vector<float> x = {-kInf, -1000, -104, 0, 88.73f, 1000, kInf, kNaN};
    const std::vector<float> exp = RunUnary(isa, kExp, x);
    EXPECT_EQ(exp[0], 0);
    EXPECT_EQ(exp[1], 0);
    EXPECT_EQ(exp[2], 0);
    EXPECT_EQ(exp[3], 1);
    EXPECT_EQ(exp[4], kInf);
    EXPECT_EQ(exp[5], kInf);
    EXPECT_EQ(exp[6], kInf);
    EXPECT_TRUE(std::isnan(exp[7]));
    const std::vector<float> silu = RunUnary(isa, kSilu, x);
    EXPECT_EQ(silu[1], 0);
    EXPECT_EQ(silu[5], 1000);
    EXPECT_TRUE(std::isnan(silu[7]));
    const std::vector<float> gelu = RunUnary(isa, kGelu, x);
    EXPECT_EQ(gelu[1], 0);
    EXPECT_EQ(gelu[3], 0);
    EXPECT_EQ(gelu[5], 1000);
    EXPECT_TRUE(std::isnan(gelu[7]));
    const std::vector<float> erf = RunUnary(isa, kErf, x);
    EXPECT_EQ(erf[0], -1);
    EXPECT_EQ(erf[6], 1);
  }
}

TEST(SimdTest, RoundsToNearestEven) {
  const std::vector<float> x = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 2.4f, 2.6f, 1e6f};
  for (Isa isa : Isas()) {
    EXPECT_EQ(RunUnary(isa, kRound, x), (std::vector<float>{0, 2, 2, 0, -2, 2, 3, 1e6f}));
    EXPECT_EQ(RunUnary(isa, kAbs, {-1, 1, -kInf}), (std::vector<float>{1, 1, kInf}));
  }
}

TEST(SimdTest, LaneByLaneOperationsMatchScalarCode) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  float a[16], b[16], c[16];
  for (int i = 0; i < 16; ++i) a[i] = normal(random), b[i] = normal(random);
  b[3] = a[3];
  for (Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    const bool fused = isa != Isa::kPortable;
    const auto run = [&](Binary op, auto want) {
      MNEME_SIMD_SELECT(isa, TestBinary)(op, a, b, c);
      for (int i = 0; i < 16; ++i)
        EXPECT_EQ(c[i], want(a[i], b[i])) << "op " << op << " lane " << i;
    };
    run(kAdd, [](float x, float y) { return x + y; });
    run(kSub, [](float x, float y) { return x - y; });
    run(kMul, [](float x, float y) { return x * y; });
    run(kDiv, [](float x, float y) { return x / y; });
    run(kMax, [](float x, float y) { return x > y ? x : y; });
    run(kMin, [](float x, float y) { return x < y ? x : y; });
    run(kMulThenAdd, [](float x, float y) { return x * y + x; });
    run(kMulAdd, [&](float x, float y) { return fused ? std::fma(x, y, x) : x * y + x; });
    run(kNegMulAdd, [&](float x, float y) { return fused ? std::fma(-x, y, x) : x - x * y; });
    run(kChoose, [](float x, float y) { return x < y ? 1.0f : 2.0f; });
    uint32_t less = 0;
    for (int i = 0; i < 16; ++i) less |= (a[i] < b[i] ? 1u : 0u) << i;
    EXPECT_EQ(MNEME_SIMD_SELECT(isa, TestBits)(a, b, 0, 0), less);
    EXPECT_EQ(MNEME_SIMD_SELECT(isa, TestBits)(a, b, 1, 0), less ^ 0xffffu);
    for (int n = 0; n <= 16; ++n) {
      EXPECT_EQ(MNEME_SIMD_SELECT(isa, TestBits)(a, b, 2, n), (1u << n) - 1);
    }
  }
}

TEST(SimdTest, MaxAndMinGiveTheSecondOperandForNaN) {
  float a[16], b[16], c[16];
  std::fill(a, a + 16, kNaN);
  std::fill(b, b + 16, 2.0f);
  for (Isa isa : Isas()) {
    for (Binary op : {kMax, kMin}) {
      MNEME_SIMD_SELECT(isa, TestBinary)(op, a, b, c);
      EXPECT_EQ(c[5], 2.0f);
      MNEME_SIMD_SELECT(isa, TestBinary)(op, b, a, c);
      EXPECT_TRUE(std::isnan(c[5]));
    }
  }
}

TEST(SimdTest, SumsOfSeveralVectorsHaveTheBitsOfTheFixedTree) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(31 * 16);
  for (float& f : x) f = normal(random);
  std::vector<float> want(31);
  for (int j = 0; j < 31; ++j) {
    float lanes[16];
    std::copy_n(&x[16 * j], 16, lanes);
    for (int half : {8, 4, 2, 1}) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    want[j] = lanes[0];
  }
  for (Isa isa : Isas()) {
    for (int count : {1, 3, 4, 6, 8, 24, 31}) {
      SCOPED_TRACE(std::string(IsaName(isa)) + " " + std::to_string(count));
      std::vector<float> sums(count);
      MNEME_SIMD_SELECT(isa, TestReduce)(count, x.data(), sums.data());
      for (int j = 0; j < count; ++j) EXPECT_EQ(sums[j], want[j]) << j;
    }
    EXPECT_EQ(MNEME_SIMD_SELECT(isa, TestReduceMax)(x.data()),
              *std::max_element(x.begin(), x.begin() + 16));
  }
}

TEST(SimdTest, Bf16WidensExactlyAndPartialLoadsStayInside) {
  for (Isa isa : Isas()) {
    for (int64_t n = 0; n <= 16; ++n) {
      // An exact-size allocation: AddressSanitizer sees a read past the end.
      const std::unique_ptr<Bf16[]> x(new Bf16[static_cast<size_t>(n)]);
      for (int64_t i = 0; i < n; ++i) x[i] = ToBf16(1.5f * (i + 1));
      float y[16];
      MNEME_SIMD_SELECT(isa, TestWiden)(x.get(), y, n);
      for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(y[i], i < n ? ToFloat(x[i]) : 0.0f);
      std::vector<float> a(n, 2.25f);
      EXPECT_EQ(RunUnary(isa, kAbs, a), a);
    }
  }
}

TEST(SimdTest, OneOrderOfLanesForFloatAndBf16) {
  for (Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    Bf16 narrow[17];
    float wide[17];
    for (int i = 0; i < 17; ++i) {
      narrow[i] = ToBf16(static_cast<float>(i) - 7.5f);
      wide[i] = ToFloat(narrow[i]);
    }
    // From the second element on: no alignment is needed.
    float any_order[2][16];
    float in_order[2][16];
    MNEME_SIMD_SELECT(isa, TestAnyOrderFloat)(wide + 1, any_order[0], in_order[0]);
    MNEME_SIMD_SELECT(isa, TestAnyOrderBf16)(narrow + 1, any_order[1], in_order[1]);
    for (int i = 0; i < 16; ++i) {
      EXPECT_EQ(any_order[0][i], any_order[1][i]) << i;
      EXPECT_EQ(in_order[0][i], wide[1 + i]) << i;
      EXPECT_EQ(in_order[1][i], wide[1 + i]) << i;
    }
  }
}

TEST(SimdTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  const std::vector<float> x = Sweep(-120, 120);
  for (Unary op : {kExp, kSigmoid, kSilu, kErf, kGelu, kSqrt}) {
    const std::vector<float> a = RunUnary(Isa::kAvx2, op, x);
    const std::vector<float> b = RunUnary(Isa::kAvx512, op, x);
    int64_t differ = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      differ += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) &&
                !(std::isnan(a[i]) && std::isnan(b[i]));
    }
    EXPECT_EQ(differ, 0) << "op " << op;
  }
}

}  // namespace
}  // namespace mneme::kernels
