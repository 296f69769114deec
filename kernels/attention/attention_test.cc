#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

// A sequence's keys and values by position, apart from any paging: tests lay them out in blocks in
// different ways and expect the same bits.
struct Sequence {
  std::vector<float> keys, values, q;  // [positions, kv_heads or heads, head_dim]
  int32_t positions;
};

struct Shape {
  int32_t heads, kv_heads, head_dim, window;
};

Sequence MakeSequence(const Shape& shape, int32_t positions, uint32_t seed) {
  Sequence s;
  s.positions = positions;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (auto* x : {&s.keys, &s.values}) {
    x->resize(int64_t{positions} * shape.kv_heads * shape.head_dim);
    for (float& value : *x) value = normal(random);
  }
  s.q.resize(int64_t{positions} * shape.heads * shape.head_dim);
  for (float& value : s.q) value = 2 * normal(random);
  return s;
}

// Rows [first, first + rows) of a sequence, to be computed in one step.
struct Part {
  const Sequence* sequence;
  int32_t first;
  int32_t rows;
};

struct Outcome {
  std::vector<float> y;  // [rows of all parts, heads * head_dim]
  std::vector<double> token_bytes;
  Traffic traffic;
};

// Lays the parts' sequences out in blocks (in an order drawn from `seed`; what no position fills is
// NaN) and runs fn on them as one step.
Outcome RunStep(AttentionFn fn, const Shape& shape, const std::vector<Part>& parts,
                int32_t block_size, uint32_t seed) {
  const int64_t row = int64_t{shape.head_dim};
  int32_t tokens = 0;
  int32_t blocks = 0;
  for (const Part& part : parts) {
    tokens += part.rows;
    blocks += (part.first + part.rows + block_size - 1) / block_size;
  }
  std::vector<int32_t> order(blocks);
  for (int32_t i = 0; i < blocks; ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> keys(int64_t{blocks} * shape.kv_heads * block_size * row, nan);
  std::vector<float> values = keys;
  std::vector<float> q(int64_t{tokens} * shape.heads * row);
  KvCacheView cache{keys.data(),      values.data(), shape.kv_heads * block_size * row,
                    block_size * row, block_size,    shape.kv_heads,
                    shape.head_dim};
  std::vector<AttentionSpan> spans;
  int32_t next_block = 0;
  int32_t next_row = 0;
  for (const Part& part : parts) {
    const int32_t* table = order.data() + next_block;
    for (int32_t p = 0; p < part.first + part.rows; ++p) {
      for (int32_t h = 0; h < shape.kv_heads; ++h) {
        const int64_t from = (int64_t{p} * shape.kv_heads + h) * row;
        const int64_t to = (p % block_size) * row;
        const int32_t block = table[p / block_size];
        std::copy_n(&part.sequence->keys[from], row, cache.Keys(block, h) + to);
        std::copy_n(&part.sequence->values[from], row, cache.Values(block, h) + to);
      }
    }
    std::copy_n(&part.sequence->q[part.first * shape.heads * row], part.rows * shape.heads * row,
                &q[next_row * shape.heads * row]);
    spans.push_back({next_row, part.rows, part.first, table});
    next_block += (part.first + part.rows + block_size - 1) / block_size;
    next_row += part.rows;
  }
  Outcome outcome;
  outcome.y.assign(q.size(), nan);
  outcome.token_bytes.assign(tokens, 0.0);
  std::vector<uint8_t> scratch(
      AttentionScratchBytes(shape.heads, shape.kv_heads, shape.head_dim, 4096) + 64);
  AttentionArgs args;
  args.q = MakeMatrix<const float>(q.data(), tokens, shape.heads * row);
  args.cache = cache;
  args.spans = spans;
  args.heads = shape.heads;
  args.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  args.window = shape.window;
  args.y = MakeMatrix(outcome.y.data(), tokens, shape.heads * row);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  args.token_bytes = outcome.token_bytes.data();
  outcome.traffic = fn(args);
  return outcome;
}

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

// A score is off by at most (dim + 2) eps · scale · Σ|q||k| in either implementation, so a weight
// by twice that relatively, plus 4 eps for exp; sums over n positions add n eps each. |y| ≤ max|v|.
double Tolerance(const Shape& shape, const Sequence& s) {
  const auto largest = [](const std::vector<float>& x) {
    float most = 0;
    for (float value : x) most = std::max(most, std::abs(value));
    return static_cast<double>(most);
  };
  const double eps = std::numeric_limits<float>::epsilon() / 2;
  // Σ|q||k| ≤ |q| |k| (Cauchy-Schwarz); norms bounded from above by 2 · √(2 dim), √(2 dim).
  const double scores = 4.0 * shape.head_dim / std::sqrt(shape.head_dim);
  const double score_error = (shape.head_dim + 2) * eps * scores;
  return 2 * (2 * score_error + 4 * eps + 2 * s.positions * eps) * largest(s.values);
}

const std::vector<Shape>& Shapes() {
  static const std::vector<Shape> shapes = {
      {4, 4, 64, 0},   {4, 2, 64, 0},  {8, 1, 128, 0}, {3, 3, 24, 0},
      {2, 2, 7, 0},    {6, 2, 80, 50}, {1, 1, 96, 16}, {16, 2, 32, 3},
      {40, 1, 20, 70}, {2, 1, 256, 0}, {2, 1, 520, 0},
  };
  return shapes;
}

TEST(AttentionTest, MatchesReferenceAtOddShapes) {
  for (const Shape& shape : Shapes()) {
    const Sequence a = MakeSequence(shape, 150, 1);
    const Sequence b = MakeSequence(shape, 70, 2);
    const Sequence c = MakeSequence(shape, 1, 3);
    const std::vector<Part> parts = {{&a, 0, 150}, {&b, 69, 1}, {&c, 0, 1}, {&b, 33, 20}};
    const Outcome expected = RunStep(&AttentionReference, shape, parts, 16, 7);
    for (Isa isa : Isas()) {
      SCOPED_TRACE(std::string(IsaName(isa)) + " heads " + std::to_string(shape.heads) + " dim " +
                   std::to_string(shape.head_dim) + " window " + std::to_string(shape.window));
      const Outcome actual = RunStep(ResolveAttention(isa), shape, parts, 16, 7);
      const double tolerance = Tolerance(shape, a);
      double worst = 0;
      for (size_t i = 0; i < expected.y.size(); ++i) {
        const double error = std::abs(actual.y[i] - expected.y[i]);
        ASSERT_FALSE(std::isnan(error)) << i;
        worst = std::max(worst, error);
      }
      EXPECT_LE(worst, tolerance);
    }
  }
}

TEST(AttentionTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  for (const Shape& shape : Shapes()) {
    const Sequence a = MakeSequence(shape, 150, 1);
    const std::vector<Part> parts = {{&a, 0, 100}, {&a, 149, 1}};
    EXPECT_EQ(RunStep(ResolveAttention(Isa::kAvx2), shape, parts, 16, 7).y,
              RunStep(ResolveAttention(Isa::kAvx512), shape, parts, 16, 7).y);
  }
}

TEST(AttentionTest, ChunksBlocksAndNeighboursChangeNoBits) {
  for (const Shape& shape : Shapes()) {
    const Sequence a = MakeSequence(shape, 150, 1);
    const Sequence b = MakeSequence(shape, 70, 2);
    const int64_t row = int64_t{shape.heads} * shape.head_dim;
    for (Isa isa : Isas()) {
      SCOPED_TRACE(std::string(IsaName(isa)) + " dim " + std::to_string(shape.head_dim));
      const AttentionFn fn = ResolveAttention(isa);
      const std::vector<float> whole = RunStep(fn, shape, {{&a, 0, 150}}, 16, 1).y;
      EXPECT_EQ(whole, RunStep(fn, shape, {{&a, 0, 150}}, 48, 2).y) << "other blocks";
      std::vector<float> rows;
      for (int32_t i = 0; i < 150; ++i) {
        const std::vector<float> one = RunStep(fn, shape, {{&a, i, 1}}, 32, i).y;
        rows.insert(rows.end(), one.begin(), one.end());
      }
      EXPECT_EQ(whole, rows) << "row by row";
      const std::vector<float> mixed =
          RunStep(fn, shape, {{&b, 3, 9}, {&a, 0, 17}, {&b, 69, 1}, {&a, 17, 133}}, 16, 3).y;
      EXPECT_TRUE(std::equal(mixed.begin() + 9 * row, mixed.begin() + 26 * row, whole.begin()));
      EXPECT_TRUE(std::equal(mixed.begin() + 27 * row, mixed.end(), whole.begin() + 17 * row));
    }
  }
}

TEST(AttentionTest, OutputMayBeTheQuery) {
  const Shape shape{4, 2, 24, 0};
  const Sequence a = MakeSequence(shape, 20, 1);
  const std::vector<float> expected =
      RunStep(ResolveAttention(DetectIsa()), shape, {{&a, 0, 20}}, 32, 1).y;
  std::vector<float> keys(2 * 32 * 24);
  std::vector<float> values = keys;
  for (int32_t p = 0; p < 20; ++p) {
    for (int32_t h = 0; h < 2; ++h) {
      std::copy_n(&a.keys[(p * 2 + h) * 24], 24, &keys[(h * 32 + p) * 24]);
      std::copy_n(&a.values[(p * 2 + h) * 24], 24, &values[(h * 32 + p) * 24]);
    }
  }
  std::vector<float> q = a.q;
  const int32_t table[] = {0};
  const AttentionSpan span{0, 20, 0, table};
  std::vector<uint8_t> scratch(AttentionScratchBytes(4, 2, 24, 20) + 64);
  AttentionArgs args;
  args.q = MakeMatrix<const float>(q.data(), 20, 96);
  args.y = MakeMatrix(q.data(), 20, 96);
  args.cache = {keys.data(), values.data(), 2 * 32 * 24, 32 * 24, 32, 2, 24};
  args.spans = {&span, 1};
  args.heads = 4;
  args.scale = 1.0f / std::sqrt(24.0f);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  ResolveAttention(DetectIsa())(args);
  EXPECT_EQ(q, expected);
}

TEST(AttentionTest, TokenSharesSumToTheTrafficOfTheCache) {
  for (const Shape& shape : Shapes()) {
    const Sequence a = MakeSequence(shape, 150, 1);
    const Outcome outcome = RunStep(ResolveAttention(DetectIsa()), shape,
                                    {{&a, 0, 150}, {&a, 149, 1}, {&a, 100, 30}}, 16, 7);
    double sum = 0;
    for (double bytes : outcome.token_bytes) sum += bytes;
    const double kv = outcome.traffic.read_bytes[static_cast<int>(TrafficClass::kKv)];
    EXPECT_NEAR(sum, kv, kv * 1e-9);
    // The decode row reads its positions alone.
    const double seen = shape.window > 0 ? std::min(150, shape.window) : 150;
    EXPECT_NEAR(outcome.token_bytes[150], seen * 2 * 4 * shape.kv_heads * shape.head_dim, 0.01);
  }
}

TEST(AttentionTest, AChunkReadsItsContextOncePerPass) {
  const Shape shape{4, 4, 64, 0};
  const Sequence a = MakeSequence(shape, 64, 1);
  const Outcome outcome = RunStep(ResolveAttention(DetectIsa()), shape, {{&a, 0, 64}}, 16, 7);
  EXPECT_EQ(outcome.traffic.read_bytes[static_cast<int>(TrafficClass::kKv)], 64u * 2 * 4 * 4 * 64);
  // The first row reads position 0 with 63 others; the last reads position 63 alone.
  EXPECT_LT(outcome.token_bytes[0] * 64, outcome.token_bytes[63] * 16);
}

}  // namespace
}  // namespace mneme::kernels
