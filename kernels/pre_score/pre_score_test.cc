#include "kernels/pre_score/pre_score.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

struct Case {
  int64_t tokens;
  int32_t selections, rows, pre_width, width;
  DType dtype;
};

// A whole table in memory, of which a call may read some pre-columns.
struct Problem {
  Case c;
  int64_t row_stride_bytes;
  std::vector<uint8_t> table;
  std::vector<float> pre_query;
  std::vector<int32_t> slot;

  explicit Problem(const Case& c) : c(c) {
    std::mt19937 random(3);
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
    for (int64_t i = 0; i < c.tokens * c.selections; ++i) {
      slot.push_back(static_cast<int32_t>(random() % c.rows));
    }
  }

  // Columns [begin, end) of the pre-values.
  PreScoreArgs Args(int32_t begin, int32_t end) const {
    PreScoreArgs args;
    args.table = {table.data(), c.rows, row_stride_bytes, c.dtype, end - begin, 0, begin, 0};
    args.pre_query = {pre_query.data() + begin, c.tokens, end - begin, c.pre_width};
    args.slot = MakeMatrix(slot.data(), c.tokens, c.selections);
    return args;
  }
};

struct Outcome {
  std::vector<float> y;
  std::vector<double> token_bytes;
  Traffic traffic;
};

Outcome Compute(PreScoreFn fn, PreScoreArgs args) {
  Outcome out;
  out.y.assign(args.slot.rows * args.slot.cols, std::numeric_limits<float>::quiet_NaN());
  out.token_bytes.assign(args.slot.rows, 2.0);
  std::vector<uint8_t> scratch(
      PreScoreScratchBytes(args.slot.rows, static_cast<int32_t>(args.slot.cols)) + 64);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  args.y = MakeMatrix(out.y.data(), args.slot.rows, args.slot.cols);
  args.token_bytes = out.token_bytes.data();
  out.traffic = fn(args);
  return out;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    cases.push_back({1, 16, 300, 128, 64, dtype});
    cases.push_back({5, 16, 40, 72, 10, dtype});
    cases.push_back({70, 64, 5000, 17, 48, dtype});
    cases.push_back({2, 1, 1, 1, 1, dtype});
    cases.push_back({0, 4, 8, 16, 16, dtype});
  }
  return cases;
}

TEST(PreScoreTest, MatchesReferenceAtOddShapes) {
  for (const Case& c : Cases()) {
    const Problem p(c);
    const Outcome expected = Compute(&PreScoreReference, p.Args(0, c.pre_width));
    // Two sums of pre_width products below 36, each term with as many roundings at most.
    const double eps = std::numeric_limits<float>::epsilon() / 2;
    const double tolerance = 2 * eps * (c.pre_width + 2) * (2.0 * c.pre_width + 20);
    for (Isa isa : RunnableIsas()) {
      const Outcome actual = Compute(ResolvePreScore(c.dtype, isa), p.Args(0, c.pre_width));
      EXPECT_EQ(actual.traffic, expected.traffic);
      for (size_t i = 0; i < expected.y.size(); ++i) {
        ASSERT_NEAR(actual.y[i], expected.y[i], tolerance) << IsaName(isa) << " " << i;
      }
      EXPECT_EQ(actual.token_bytes, expected.token_bytes);
    }
  }
}

// Ranks that divide the columns read each byte once and sum to the whole.
TEST(PreScoreTest, ColumnsOfRanksSumToTheWhole) {
  for (const Case& c : Cases()) {
    if (c.pre_width < 3) continue;
    const Problem p(c);
    const Outcome whole = Compute(&PreScoreReference, p.Args(0, c.pre_width));
    const double eps = std::numeric_limits<float>::epsilon() / 2;
    const double tolerance = 2 * eps * (c.pre_width + 4) * (2.0 * c.pre_width + 20);
    const int32_t cuts[] = {0, 1, c.pre_width / 2 + 1, c.pre_width};
    for (Isa isa : RunnableIsas()) {
      std::vector<float> sum(whole.y.size());
      uint64_t read = 0;
      for (int r = 0; r < 3; ++r) {
        const Outcome part = Compute(ResolvePreScore(c.dtype, isa), p.Args(cuts[r], cuts[r + 1]));
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += part.y[i];
        read += part.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)];
      }
      for (size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(sum[i], whole.y[i], tolerance);
      EXPECT_EQ(read, whole.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)]);
    }
  }
}

TEST(PreScoreTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Case& c : Cases()) {
    const Problem p(c);
    for (Isa isa : RunnableIsas()) {
      const Outcome batch = Compute(ResolvePreScore(c.dtype, isa), p.Args(0, c.pre_width));
      for (int64_t t = 0; t < c.tokens; ++t) {
        PreScoreArgs args = p.Args(0, c.pre_width);
        args.pre_query = args.pre_query.Rows(t, 1);
        args.slot = args.slot.Rows(t, 1);
        const Outcome alone = Compute(ResolvePreScore(c.dtype, isa), args);
        ASSERT_TRUE(std::equal(alone.y.begin(), alone.y.end(), batch.y.begin() + t * c.selections));
      }
    }
  }
}

TEST(PreScoreTest, OtherTableTypesAreNotSupported) {
  EXPECT_EQ(ResolvePreScore(DType::kI32, DetectIsa()), nullptr);
}

}  // namespace
}  // namespace mneme::kernels
