#include "kernels/value_gather/value_gather.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
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

// One rank's rows, packed one behind the other, as a process that has only these holds them.
std::vector<uint8_t> PackedRows(const Problem& p, const RowShare& share) {
  std::vector<uint8_t> packed(share.Count(p.c.rows) * p.row_stride_bytes);
  int64_t count = 0;
  for (int32_t row = 0; row < p.c.rows; ++row) {
    if (!share.Has(row)) continue;
    RowShare in = share;
    in.packed = true;
    std::memcpy(&packed[in.InMemory(row) * p.row_stride_bytes], &p.table[row * p.row_stride_bytes],
                p.row_stride_bytes);
    ++count;
  }
  EXPECT_EQ(count, share.Count(p.c.rows));
  return packed;
}

// Every row belongs to one rank, whatever the last blocks are.
TEST(RowShareTest, RanksDivideTheRows) {
  for (int32_t ranks : {1, 2, 3, 5}) {
    for (int32_t shift : {0, 2, 3}) {
      for (int64_t rows : {1, 7, 8, 9, 100, 121}) {
        int64_t sum = 0;
        for (int32_t r = 0; r < ranks; ++r) {
          const RowShare share = {r, ranks, shift, true};
          int64_t next = 0;
          for (int64_t row = 0; row < rows; ++row) {
            if (!share.Has(row)) continue;
            EXPECT_EQ(share.InMemory(row), next++);
          }
          EXPECT_EQ(share.Count(rows), next) << ranks << " " << shift << " " << rows;
          sum += next;
        }
        EXPECT_EQ(sum, rows);
      }
    }
  }
}

// A token of one rank's rows has its sum bit for bit, wherever the rows lie; all ranks' sums are
// the whole; every row is read by one rank.
TEST(ValueGatherTest, RanksWithSomeOfTheRowsSumToTheWhole) {
  for (const Case& c : Cases()) {
    Problem p(c);
    if (c.tokens > 1) {
      for (int64_t t = 0; t < c.tokens; ++t) p.slot[t * c.selections] = c.rows - 1;  // by all
    }
    const Outcome whole = Compute(&ValueGatherReference, p.Args());
    const double eps = std::numeric_limits<float>::epsilon() / 2;
    const double pre = c.pre_width > 0 ? 2.0 * c.pre_width + 20 : 1.0;
    const double tolerance =
        2 * eps * (1.13 * (c.pre_width + 2) + c.selections + 8) * pre * c.selections * 6;
    for (const auto& [ranks, shift] : {std::pair(2, 0), std::pair(3, 2), std::pair(4, 12)}) {
      for (Isa isa : Isas()) {
        SCOPED_TRACE(Name(c, isa));
        std::vector<float> sum(whole.y.size());
        std::vector<double> bytes(whole.token_bytes.size());
        uint64_t read = 0;
        for (int32_t r = 0; r < ranks; ++r) {
          ValueGatherArgs args = p.Args();
          args.share = {r, ranks, shift, false};
          const Outcome shared = Compute(ResolveValueGather(c.dtype, isa), args);
          const Outcome reference = Compute(&ValueGatherReference, args);
          EXPECT_TRUE(shared.traffic == reference.traffic);
          const std::vector<uint8_t> rows = PackedRows(p, args.share);
          args.table.data = rows.data();
          args.table.rows = args.share.Count(c.rows);
          args.share.packed = true;
          const Outcome packed = Compute(ResolveValueGather(c.dtype, isa), args);
          EXPECT_EQ(shared.y, packed.y);
          EXPECT_EQ(reference.y, Compute(&ValueGatherReference, args).y);
          EXPECT_EQ(shared.token_bytes, packed.token_bytes);
          EXPECT_TRUE(shared.traffic == packed.traffic);
          EXPECT_TRUE(ValuePrefetch({args.table, args.share, args.slot}) == Traffic());
          for (size_t i = 0; i < sum.size(); ++i) sum[i] += shared.y[i];
          for (size_t i = 0; i < bytes.size(); ++i) bytes[i] += shared.token_bytes[i] - 2;
          read += shared.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)];
        }
        for (size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(sum[i], whole.y[i], tolerance);
        EXPECT_EQ(read, whole.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)]);
        for (size_t i = 0; i < bytes.size(); ++i) {
          EXPECT_NEAR(bytes[i], whole.token_bytes[i] - 2, 1e-6);
        }
      }
    }
  }
}

// Some columns of every row: the same bits as of the whole rows, also where a core's slice is cut.
TEST(ValueGatherTest, SomeColumnsHaveTheBitsOfAllOfThem) {
  for (const Case& c : Cases()) {
    if (c.width < 5) continue;
    const Problem p(c);
    for (Isa isa : Isas()) {
      SCOPED_TRACE(Name(c, isa));
      const ValueGatherFn fn = ResolveValueGather(c.dtype, isa);
      ValueGatherArgs args = p.Args();
      // Pre-scores as an input; the same numbers for the whole and the parts.
      std::vector<float> pre_score(c.tokens * c.selections, 1.0f);
      std::mt19937 random(5);
      for (float& x : pre_score) x = static_cast<float>(random() % 1000) / 500 - 1;
      args.pre_query = {};
      args.pre_score = MakeMatrix(pre_score.data(), c.tokens, c.selections);
      args.table.pre_width = 0;
      args.table.value_offset = c.pre_width;
      const Outcome whole = Compute(fn, args);
      const int32_t cuts[] = {0, c.width / 3 + 1, c.width / 2 + 1, c.width};
      uint64_t read = 0;
      for (int r = 0; r < 3; ++r) {
        ValueGatherArgs part = args;
        part.table.width = cuts[r + 1] - cuts[r];
        part.table.value_offset = c.pre_width + cuts[r];
        part.first_col = cuts[r];
        part.table_width = c.width;
        const Outcome got = Compute(fn, part);
        const Outcome reference = Compute(&ValueGatherReference, part);
        EXPECT_TRUE(got.traffic == reference.traffic);
        EXPECT_TRUE(ValuePrefetch({part.table, part.share, part.slot}) == Traffic());
        const int32_t width = part.table.width;
        for (int64_t t = 0; t < c.tokens; ++t) {
          for (int32_t g = 0; g < c.expand_groups; ++g) {
            for (int32_t d = 0; d < width; ++d) {
              const float want = whole.y[(t * c.expand_groups + g) * c.width + cuts[r] + d];
              const int64_t at = (t * c.expand_groups + g) * width + d;
              ASSERT_EQ(got.y[at], want);
              ASSERT_NEAR(reference.y[at], want, 1e-3);
            }
          }
        }
        read += got.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)];
      }
      EXPECT_EQ(read, whole.traffic.read_bytes[static_cast<int>(TrafficClass::kValueRows)]);
    }
  }
}

// The pre-scores that the gather would compute by itself, computed before it.
TEST(ValueGatherTest, GivenPreScoresTakeTheGeluToo) {
  for (const Case& c : Cases()) {
    if (c.pre_width == 0) continue;
    const Problem p(c);
    const Outcome fused = Compute(&ValueGatherReference, p.Args());
    ValueGatherArgs args = p.Args();
    std::vector<float> pre_score(c.tokens * c.selections);
    for (int64_t i = 0; i < c.tokens * c.selections; ++i) {
      const uint8_t* row = args.table.row(p.slot[i]);
      for (int32_t k = 0; k < c.pre_width; ++k) {
        const float pre = c.dtype == DType::kF32 ? reinterpret_cast<const float*>(row)[k]
                                                 : ToFloat(reinterpret_cast<const Bf16*>(row)[k]);
        pre_score[i] += pre * args.pre_query.row(i / c.selections)[k];
      }
    }
    args.pre_score = MakeMatrix(pre_score.data(), c.tokens, c.selections);
    args.pre_query = {};
    args.table.pre_width = 0;
    args.table.value_offset = c.pre_width;
    EXPECT_EQ(Compute(&ValueGatherReference, args).y, fused.y);
  }
}

TEST(ValueGatherTest, OtherTableTypesAreNotSupported) {
  EXPECT_EQ(ResolveValueGather(DType::kI32, DetectIsa()), nullptr);
}

}  // namespace
}  // namespace mneme::kernels
