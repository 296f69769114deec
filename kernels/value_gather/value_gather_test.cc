#include "kernels/value_gather/value_gather.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

struct Case {
  int64_t tokens;
  int32_t selections, rows, pre_width, width, cores, expand_groups;
  bool gelu;
  DType dtype;
};

struct Problem {
  Case c;
  int64_t row_stride_bytes;
  std::vector<uint8_t> table;
  std::vector<float> pre_query, weight;
  std::vector<int32_t> slot, group;

  explicit Problem(const Case& c) : c(c) {
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    const int64_t elements = int64_t{c.pre_width} + c.width;
    row_stride_bytes = (elements * DTypeBytes(c.dtype) + 63) / 64 * 64;
    table.resize(c.rows * row_stride_bytes);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < elements; ++i) {
        const float x = normal(random);
        const Bf16 half = ToBf16(x);
        uint8_t* to = &table[r * row_stride_bytes + i * DTypeBytes(c.dtype)];
        if (c.dtype == DType::kF32) {
          std::memcpy(to, &x, sizeof x);
        } else {
          std::memcpy(to, &half, sizeof half);
        }
      }
    }
    for (int64_t i = 0; i < c.tokens * c.pre_width; ++i) pre_query.push_back(normal(random));
    for (int64_t i = 0; i < c.tokens * c.selections * c.cores; ++i) {
      weight.push_back(normal(random));
    }
    for (int64_t i = 0; i < c.tokens * c.selections; ++i) {
      slot.push_back(static_cast<int32_t>(random() % c.rows));
      group.push_back(static_cast<int32_t>(random() % c.expand_groups));
    }
  }

  ValueGatherArgs Args() const {
    ValueGatherArgs args;
    args.table = {table.data(), c.rows, row_stride_bytes, c.dtype, c.pre_width, c.width};
    if (c.pre_width > 0) args.pre_query = MakeMatrix(pre_query.data(), c.tokens, c.pre_width);
    args.slot = MakeMatrix(slot.data(), c.tokens, c.selections);
    if (c.expand_groups > 1) args.group = MakeMatrix(group.data(), c.tokens, c.selections);
    args.weight = MakeMatrix(weight.data(), c.tokens, int64_t{c.selections} * c.cores);
    args.cores = c.cores;
    args.expand_groups = c.expand_groups;
    args.gelu_pre_score = c.gelu;
    return args;
  }
};

struct Outcome {
  std::vector<float> y;
  std::vector<double> token_bytes;
  Traffic traffic;
};

Outcome Compute(ValueGatherFn fn, ValueGatherArgs args) {
  const int64_t tokens = args.slot.rows;
  const int64_t width = int64_t{args.table.width} * args.expand_groups;
  Outcome out;
  out.y.assign(tokens * width, std::numeric_limits<float>::quiet_NaN());
  out.token_bytes.assign(tokens, 2.0);
  std::vector<uint8_t> scratch(
      ValueGatherScratchBytes(tokens, static_cast<int32_t>(args.slot.cols)) + 64);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  args.y = MakeMatrix(out.y.data(), tokens, width);
  args.token_bytes = out.token_bytes.data();
  out.traffic = fn(args);
  return out;
}

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    cases.push_back({1, 16, 300, 128, 64, 2, 1, false, dtype});
    cases.push_back({5, 16, 40, 128, 64, 2, 4, true, dtype});
    cases.push_back({9, 7, 1000, 0, 33, 1, 1, false, dtype});
    cases.push_back({3, 32, 17, 72, 194, 2, 4, false, dtype});
    cases.push_back({70, 64, 5000, 17, 48, 3, 1, true, dtype});
    cases.push_back({150, 32, 70000, 5, 20, 2, 1, false, dtype});
    cases.push_back({2, 1, 1, 1, 1, 1, 1, true, dtype});
    cases.push_back({0, 4, 8, 0, 16, 1, 1, false, dtype});
  }
  return cases;
}

std::string Name(const Case& c, Isa isa) {
  return std::string(IsaName(isa)) + " " + DTypeName(c.dtype) + " tokens " +
         std::to_string(c.tokens) + " width " + std::to_string(c.width);
}

TEST(ValueGatherTest, MatchesReferenceAtOddShapes) {
  for (const Case& c : Cases()) {
    const Problem p(c);
    const Outcome expected = Compute(&ValueGatherReference, p.Args());
    // A pre-score is off by (pre_width + 2) eps of Σ|pre||query|, gelu (of slope below 1.13) keeps
    // that; a sum of `selections` terms adds as many roundings. Both implementations, so twice.
    // |pre|, |query|, |value|, |weight| are normal: below 6; Σ|pre||query| below 2 pre_width + 20.
    const double eps = std::numeric_limits<float>::epsilon() / 2;
    const double pre = c.pre_width > 0 ? 2.0 * c.pre_width + 20 : 1.0;
    const double tolerance =
        2 * eps * (1.13 * (c.pre_width + 2) + c.selections + 4) * pre * c.selections * 6;
    for (Isa isa : Isas()) {
      SCOPED_TRACE(Name(c, isa));
      const Outcome actual = Compute(ResolveValueGather(c.dtype, isa), p.Args());
      double worst = 0;
      for (size_t i = 0; i < expected.y.size(); ++i) {
        const double error = std::abs(double{actual.y[i]} - expected.y[i]);
        ASSERT_FALSE(std::isnan(error)) << i;
        worst = std::max(worst, error);
      }
      EXPECT_LE(worst, tolerance);
      EXPECT_TRUE(expected.traffic == actual.traffic);
      for (int64_t t = 0; t < c.tokens; ++t) {
        EXPECT_NEAR(expected.token_bytes[t], actual.token_bytes[t], 1e-6);
      }
    }
  }
}

TEST(ValueGatherTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Case& c : Cases()) {
    const Problem p(c);
    const int64_t width = int64_t{c.width} * c.expand_groups;
    for (Isa isa : Isas()) {
      const ValueGatherFn fn = ResolveValueGather(c.dtype, isa);
      const Outcome batch = Compute(fn, p.Args());
      for (int64_t t = 0; t < c.tokens; ++t) {
        ValueGatherArgs args = p.Args();
        if (c.pre_width > 0) args.pre_query = args.pre_query.Rows(t, 1);
        args.slot = args.slot.Rows(t, 1);
        if (c.expand_groups > 1) args.group = args.group.Rows(t, 1);
        args.weight = args.weight.Rows(t, 1);
        const Outcome alone = Compute(fn, args);
        EXPECT_TRUE(std::equal(alone.y.begin(), alone.y.end(), batch.y.begin() + t * width))
            << Name(c, isa) << " token " << t;
      }
    }
  }
}

TEST(ValueGatherTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  for (const Case& c : Cases()) {
    const Problem p(c);
    EXPECT_EQ(Compute(ResolveValueGather(c.dtype, Isa::kAvx2), p.Args()).y,
              Compute(ResolveValueGather(c.dtype, Isa::kAvx512), p.Args()).y);
  }
}

TEST(ValueGatherTest, EachDistinctRowCountsOnceAndIsSharedByItsTokens) {
  const Case c{3, 4, 10, 0, 16, 1, 1, false, DType::kF32};
  Problem p(c);
  // Row 7 is used by tokens 0 (twice) and 1, row 3 by all, the rest by one token each.
  p.slot = {7, 3, 7, 0, 7, 3, 1, 2, 3, 4, 5, 6};
  for (Isa isa : Isas()) {
    const Outcome out = Compute(ResolveValueGather(c.dtype, isa), p.Args());
    EXPECT_EQ(out.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)], 8u * 64);
    EXPECT_DOUBLE_EQ(out.token_bytes[0], 2 + 64 * (0.5 + 1.0 / 3 + 1));
    EXPECT_DOUBLE_EQ(out.token_bytes[1], 2 + 64 * (0.5 + 1.0 / 3 + 2));
    EXPECT_DOUBLE_EQ(out.token_bytes[2], 2 + 64 * (1.0 / 3 + 3));
    // Alone, token 0 has three rows to itself.
    ValueGatherArgs args = p.Args();
    args.slot = args.slot.Rows(0, 1);
    args.weight = args.weight.Rows(0, 1);
    const Outcome alone = Compute(ResolveValueGather(c.dtype, isa), args);
    EXPECT_EQ(alone.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)], 3u * 64);
    EXPECT_DOUBLE_EQ(alone.token_bytes[0], 2 + 64 * 3);
  }
}

TEST(ValueGatherTest, PrefetchingReadsNothingAndCountsNothing) {
  const Problem p(Cases()[4]);
  ValuePrefetchArgs args;
  args.table = p.Args().table;
  args.slot = p.Args().slot;
  EXPECT_TRUE(ValuePrefetch(args) == Traffic());
}

TEST(ValueGatherTest, OtherTableTypesAreNotSupported) {
  EXPECT_EQ(ResolveValueGather(DType::kI32, DetectIsa()), nullptr);
}

}  // namespace
}  // namespace mneme::kernels
