#include "kernels/experts/experts.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

struct Shape {
  int64_t tokens;
  int64_t dim;
  int64_t hidden;
  int32_t experts;
  int64_t top_k;
  DType dtype;
};

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    shapes.push_back({1, 16, 16, 4, 2, dtype});
    shapes.push_back({1, 33, 7, 5, 3, dtype});
    shapes.push_back({2, 100, 96, 64, 8, dtype});
    shapes.push_back({5, 48, 24, 8, 2, dtype});
    // Every token chose every expert.
    shapes.push_back({9, 64, 40, 3, 3, dtype});
    shapes.push_back({70, 31, 17, 6, 2, dtype});
    shapes.push_back({3, 1, 1, 1, 1, dtype});
    shapes.push_back({0, 16, 16, 4, 2, dtype});
  }
  return shapes;
}

// Rows are further apart than they are long, in inputs, weights and output.
constexpr int64_t kGap = 3;

struct Problem {
  explicit Problem(const Shape& s) : shape(s) {
    std::mt19937 random(static_cast<uint32_t>(s.tokens * 131 + s.dim));
    std::normal_distribution<float> normal;
    const auto fill = [&](int64_t rows, int64_t cols, std::vector<float>* wide,
                          std::vector<Bf16>* narrow) {
      wide->assign(static_cast<size_t>(rows * (cols + kGap)), std::nanf(""));
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          (*wide)[r * (cols + kGap) + c] = ToFloat(ToBf16(normal(random)));
        }
      }
      for (float f : *wide) narrow->push_back(ToBf16(f));
    };
    std::vector<Bf16> unused;
    fill(s.tokens, s.dim, &x, &unused);
    fill(s.experts * s.hidden, s.dim, &gate, &narrow_gate);
    fill(s.experts * s.hidden, s.dim, &up, &narrow_up);
    fill(s.experts * s.dim, s.hidden, &down, &narrow_down);
    std::vector<int32_t> ids(static_cast<size_t>(s.experts));
    std::iota(ids.begin(), ids.end(), 0);
    for (int64_t t = 0; t < s.tokens; ++t) {
      std::shuffle(ids.begin(), ids.end(), random);
      std::sort(ids.begin(), ids.begin() + s.top_k);
      expert.insert(expert.end(), ids.begin(), ids.begin() + s.top_k);
      for (int64_t j = 0; j < s.top_k; ++j) weight.push_back(normal(random));
    }
  }

  // Hidden units [begin, end) of the experts [first, last).
  std::vector<ExpertWeights> Weights(int32_t first, int32_t last, int64_t begin,
                                     int64_t end) const {
    const auto view = [&](const std::vector<float>& wide, const std::vector<Bf16>& narrow,
                          int64_t row, int64_t col, int64_t rows, int64_t cols, int64_t width) {
      const int64_t at = row * (width + kGap) + col;
      const bool half = shape.dtype == DType::kBf16;
      return TensorView{half ? static_cast<const void*>(narrow.data() + at) : wide.data() + at,
                        shape.dtype, rows, cols, width + kGap};
    };
    std::vector<ExpertWeights> weights;
    for (int32_t e = first; e < last; ++e) {
      const int64_t row = e * shape.hidden + begin;
      weights.push_back({.gate = view(gate, narrow_gate, row, 0, end - begin, shape.dim, shape.dim),
                         .up = view(up, narrow_up, row, 0, end - begin, shape.dim, shape.dim),
                         .down = view(down, narrow_down, e * shape.dim, begin, shape.dim,
                                      end - begin, shape.hidden)});
    }
    return weights;
  }
  std::vector<ExpertWeights> Weights() const { return Weights(0, shape.experts, 0, shape.hidden); }

  ExpertsArgs Args() const {
    ExpertsArgs args;
    args.x = {x.data(), shape.tokens, shape.dim, shape.dim + kGap};
    args.expert = MakeMatrix(expert.data(), shape.tokens, shape.top_k);
    args.weight = MakeMatrix(weight.data(), shape.tokens, shape.top_k);
    return args;
  }

  Shape shape;
  std::vector<float> x, gate, up, down, weight;
  std::vector<Bf16> narrow_gate, narrow_up, narrow_down;
  std::vector<int32_t> expert;
};

struct Outcome {
  std::vector<float> y;  // with gaps
  std::vector<double> token_bytes;
  Traffic traffic;
};

Outcome Compute(ExpertsFn fn, ExpertsArgs args, const std::vector<ExpertWeights>& weights,
                int32_t first = 0) {
  const int64_t tokens = args.x.rows;
  const int64_t dim = args.x.cols;
  Outcome out;
  out.y.assign(static_cast<size_t>(tokens * (dim + kGap)), -77.0f);
  out.token_bytes.assign(static_cast<size_t>(tokens), 2.0);
  const int64_t hidden = weights.empty() ? 0 : weights[0].gate.rows;
  std::vector<uint8_t> scratch(
      static_cast<size_t>(ExpertsScratchBytes({.tokens = tokens,
                                               .top_k = args.expert.cols,
                                               .dim = dim,
                                               .hidden = hidden,
                                               .experts = static_cast<int64_t>(weights.size())}) +
                          64));
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  args.weights = weights;
  args.first = first;
  args.y = {out.y.data(), tokens, dim, dim + kGap};
  args.token_bytes = out.token_bytes.data();
  out.traffic = fn(args);
  return out;
}

// The formula in double, and how far float32 may be from it: a sum of n products errs by at most
// γ_n Σ|a·b| with γ_n = n·u/(1 − n·u), u = 2^-24; |silu'| <= 1.1; the activation rounds by 5 ulp.
struct Exact {
  double value = 0;
  double tolerance = 0;
};

std::vector<Exact> ComputeExactly(const Problem& p, int64_t t) {
  const Shape& s = p.shape;
  const auto gamma = [](int64_t n) {
    const double nu = static_cast<double>(n) * std::ldexp(1.0, -24);
    return nu / (1 - nu);
  };
  const auto dot = [](const float* a, const float* b, int64_t n) {
    Exact sum;
    for (int64_t i = 0; i < n; ++i) {
      sum.value += static_cast<double>(a[i]) * b[i];
      sum.tolerance += std::fabs(static_cast<double>(a[i]) * b[i]);
    }
    return sum;
  };
  std::vector<Exact> y(static_cast<size_t>(s.dim));
  const float* x = p.x.data() + t * (s.dim + kGap);
  for (int64_t j = 0; j < s.top_k; ++j) {
    const int64_t e = p.expert[t * s.top_k + j];
    const double weight = p.weight[t * s.top_k + j];
    std::vector<Exact> hidden;
    for (int64_t h = 0; h < s.hidden; ++h) {
      const int64_t row = (e * s.hidden + h) * (s.dim + kGap);
      const Exact g = dot(p.gate.data() + row, x, s.dim);
      const Exact u = dot(p.up.data() + row, x, s.dim);
      const double silu = g.value / (1 + std::exp(-g.value));
      hidden.push_back({u.value * silu, gamma(s.dim) * (1.1 * g.tolerance * std::fabs(u.value) +
                                                        u.tolerance * std::fabs(silu)) +
                                            gamma(10) * std::fabs(u.value * silu)});
    }
    for (int64_t o = 0; o < s.dim; ++o) {
      const float* row = p.down.data() + (e * s.dim + o) * (s.hidden + kGap);
      double sum = 0;
      double error = 0;
      double magnitude = 0;
      for (int64_t h = 0; h < s.hidden; ++h) {
        sum += row[h] * hidden[h].value;
        error += std::fabs(row[h]) * hidden[h].tolerance;
        magnitude += std::fabs(row[h] * hidden[h].value);
      }
      y[o].value += weight * sum;
      y[o].tolerance += std::fabs(weight) * (error + gamma(s.hidden + s.top_k + 1) * magnitude);
    }
  }
  return y;
}

std::string Name(const Shape& s, Isa isa) {
  return std::string(IsaName(isa)) + " " + DTypeName(s.dtype) + " tokens " +
         std::to_string(s.tokens) + " dim " + std::to_string(s.dim);
}

TEST(ExpertsTest, MatchesTheFormulaAtOddShapes) {
  for (const Shape& shape : Shapes()) {
    const Problem p(shape);
    const Outcome reference = Compute(ExpertsReference, p.Args(), p.Weights());
    std::vector<Outcome> outcomes = {reference};
    for (const Isa isa : RunnableIsas()) {
      outcomes.push_back(Compute(ResolveExperts(isa), p.Args(), p.Weights()));
      EXPECT_EQ(outcomes.back().traffic, reference.traffic);
      for (int64_t t = 0; t < shape.tokens; ++t) {
        EXPECT_NEAR(outcomes.back().token_bytes[t], reference.token_bytes[t], 1e-6);
      }
    }
    for (int64_t t = 0; t < shape.tokens; ++t) {
      const std::vector<Exact> exact = ComputeExactly(p, t);
      for (size_t i = 0; i < outcomes.size(); ++i) {
        const float* y = outcomes[i].y.data() + t * (shape.dim + kGap);
        for (int64_t o = 0; o < shape.dim; ++o) {
          ASSERT_NEAR(y[o], exact[o].value, exact[o].tolerance)
              << (i == 0 ? "reference" : Name(shape, RunnableIsas()[i - 1])) << " t " << t;
        }
        for (int64_t o = shape.dim; o < shape.dim + kGap; ++o) ASSERT_EQ(y[o], -77.0f);
      }
    }
  }
}

TEST(ExpertsTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Shape& shape : Shapes()) {
    const Problem p(shape);
    for (const Isa isa : RunnableIsas()) {
      const Outcome batch = Compute(ResolveExperts(isa), p.Args(), p.Weights());
      for (int64_t t = 0; t < shape.tokens; ++t) {
        ExpertsArgs args = p.Args();
        args.x = args.x.Rows(t, 1);
        args.expert = args.expert.Rows(t, 1);
        args.weight = args.weight.Rows(t, 1);
        const Outcome alone = Compute(ResolveExperts(isa), args, p.Weights());
        for (int64_t o = 0; o < shape.dim; ++o) {
          ASSERT_EQ(alone.y[o], batch.y[t * (shape.dim + kGap) + o])
              << Name(shape, isa) << " " << t;
        }
      }
    }
  }
}

TEST(ExpertsTest, PartsOfTheExpertsAndOfTheirWidthSumToTheWhole) {
  for (const Shape& shape : Shapes()) {
    const Problem p(shape);
    const int32_t cut = shape.experts / 3;
    const int64_t mid = shape.hidden / 2;
    for (const Isa isa : RunnableIsas()) {
      const ExpertsFn fn = ResolveExperts(isa);
      const Outcome whole = Compute(fn, p.Args(), p.Weights());
      const std::vector<std::vector<Outcome>> splits = {
          {Compute(fn, p.Args(), p.Weights(0, cut, 0, shape.hidden), 0),
           Compute(fn, p.Args(), p.Weights(cut, shape.experts, 0, shape.hidden), cut)},
          {Compute(fn, p.Args(), p.Weights(0, shape.experts, 0, mid)),
           Compute(fn, p.Args(), p.Weights(0, shape.experts, mid, shape.hidden))}};
      for (const std::vector<Outcome>& parts : splits) {
        uint64_t bytes = 0;
        for (const Outcome& part : parts) {
          bytes += part.traffic.read_bytes[static_cast<int>(TrafficClass::kExpertWeights)];
        }
        EXPECT_EQ(bytes, whole.traffic.read_bytes[static_cast<int>(TrafficClass::kExpertWeights)]);
        for (int64_t t = 0; t < shape.tokens; ++t) {
          const std::vector<Exact> exact = ComputeExactly(p, t);
          EXPECT_NEAR(parts[0].token_bytes[t] + parts[1].token_bytes[t], whole.token_bytes[t] + 2.0,
                      1e-6);
          for (int64_t o = 0; o < shape.dim; ++o) {
            const int64_t at = t * (shape.dim + kGap) + o;
            ASSERT_NEAR(parts[0].y[at] + parts[1].y[at], whole.y[at], 2 * exact[o].tolerance)
                << Name(shape, isa);
          }
        }
      }
    }
  }
}

TEST(ExpertsTest, WithoutAnActiveExpertTheOutputIsZero) {
  const Problem p({3, 33, 16, 4, 2, DType::kF32});
  for (const Isa isa : RunnableIsas()) {
    // No experts at all, and experts that nobody chose.
    for (const auto& weights : {p.Weights(0, 0, 0, 16), p.Weights()}) {
      const Outcome out = Compute(ResolveExperts(isa), p.Args(), weights, 4);
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t o = 0; o < 33; ++o) ASSERT_EQ(out.y[t * (33 + kGap) + o], 0.0f);
        EXPECT_EQ(out.token_bytes[t], 2.0);
      }
      EXPECT_EQ(out.traffic.read_bytes[static_cast<int>(TrafficClass::kExpertWeights)], 0u);
    }
  }
}

TEST(ExpertsTest, AnActiveExpertCountsOnceAndIsSharedByItsTokensAndTheRestIsNotTouched) {
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    Problem p({3, 20, 10, 6, 2, dtype});
    p.expert = {1, 4, 1, 5, 1, 4};
    std::vector<ExpertWeights> weights = p.Weights();
    // Reading one of these is a fault.
    for (int e : {0, 2, 3}) {
      weights[e].gate.data = weights[e].up.data = weights[e].down.data = nullptr;
    }
    const double bytes = 3.0 * 20 * 10 * static_cast<double>(DTypeBytes(dtype));
    for (const Isa isa : RunnableIsas()) {
      const Outcome out = Compute(ResolveExperts(isa), p.Args(), weights);
      EXPECT_EQ(static_cast<double>(
                    out.traffic.read_bytes[static_cast<int>(TrafficClass::kExpertWeights)]),
                3 * bytes);
      EXPECT_EQ(out.traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)],
                3u * (20 + 2 + 2) * 4);
      EXPECT_EQ(out.traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)],
                3u * 20 * 4);
      EXPECT_DOUBLE_EQ(out.token_bytes[0], 2 + bytes / 3 + bytes / 2);
      EXPECT_DOUBLE_EQ(out.token_bytes[1], 2 + bytes / 3 + bytes);
      EXPECT_DOUBLE_EQ(out.token_bytes[2], 2 + bytes / 3 + bytes / 2);
    }
  }
}

TEST(ExpertsTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "this machine has no AVX-512";
  for (const Shape& shape : Shapes()) {
    const Problem p(shape);
    EXPECT_EQ(Compute(ResolveExperts(Isa::kAvx2), p.Args(), p.Weights()).y,
              Compute(ResolveExperts(Isa::kAvx512), p.Args(), p.Weights()).y);
  }
}

}  // namespace
}  // namespace mneme::kernels
