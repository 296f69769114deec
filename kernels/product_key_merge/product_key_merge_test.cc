// Ranks with some of the keys each, and the merge of what they found, against one rank with all of
// them: the same bits, whatever the kernels' tiles and the cuts are.

#include "kernels/product_key_merge/product_key_merge.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/product_key_candidates/product_key_candidates.h"
#include "kernels/simd/runnable_isas.h"

namespace mneme::kernels {
namespace {

struct Case {
  int32_t tokens, heads, heads_per_group, key_count, key_dim, rank, top_k;
  bool norm, mean, directions;
  DType dtype;
  std::vector<int32_t> cuts;
};

struct Problem {
  Case c;
  int64_t chunks;
  std::vector<float> query, keys, inverse_norm, mean, u, v;
  std::vector<Bf16> narrow;

  // whole: small integers, so that ties are many.
  Problem(const Case& c, bool whole) : c(c), chunks(2 * ((c.heads - 1) / c.heads_per_group + 1)) {
    std::mt19937 random(9);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::vector<float>& x, int64_t n) {
      x.resize(n);
      for (float& value : x) {
        value = whole ? static_cast<float>(static_cast<int>(random() % 3)) - 1 : normal(random);
      }
    };
    const int64_t count = int64_t{c.heads} * 2 * c.key_count;
    draw(query, c.tokens * chunks * c.key_dim);
    draw(keys, count * c.key_dim * c.rank);
    draw(inverse_norm, count * c.rank);
    draw(mean, count * c.rank);
    draw(u, int64_t{c.heads} * c.rank);
    draw(v, int64_t{c.heads} * c.rank);
    for (float x : keys) narrow.push_back(ToBf16(x));
  }

  // Of keys [begin, end) of each side: a view into the whole.
  ProductKeyCandidatesArgs Args(int32_t begin, int32_t end) const {
    ProductKeyCandidatesArgs args;
    args.query = MakeMatrix(query.data(), c.tokens, chunks * c.key_dim);
    const int64_t cols = int64_t{c.key_dim} * c.rank;
    const int64_t rows = int64_t{c.heads} * 2 * (end - begin);
    args.keys = c.dtype == DType::kBf16
                    ? TensorView{narrow.data() + begin * cols, DType::kBf16, rows, cols, cols}
                    : TensorView{keys.data() + begin * cols, DType::kF32, rows, cols, cols};
    args.heads = c.heads;
    args.heads_per_group = c.heads_per_group;
    args.key_count = end - begin;
    args.key_stride = c.key_count;
    args.first_key = begin;
    args.key_dim = c.key_dim;
    args.rank = c.rank;
    args.top_k = std::min(c.top_k, end - begin);
    args.inverse_norm = c.norm ? inverse_norm.data() + int64_t{begin} * c.rank : nullptr;
    args.mean = c.norm && c.mean ? mean.data() + int64_t{begin} * c.rank : nullptr;
    args.row_direction = c.directions ? u.data() : nullptr;
    args.column_direction = c.directions ? v.data() : nullptr;
    return args;
  }
};

struct Outcome {
  std::vector<int32_t> index;
  std::vector<float> score;
  Traffic traffic;
};

Outcome Candidates(ProductKeyCandidatesFn fn, ProductKeyCandidatesArgs args) {
  const int64_t kept = int64_t{args.heads} * 2 * args.top_k;
  Outcome out;
  out.index.assign(args.query.rows * kept, -7);
  out.score.assign(args.query.rows * kept * args.rank, -7.0f);
  args.index = MakeMatrix(out.index.data(), args.query.rows, kept);
  args.score = MakeMatrix(out.score.data(), args.query.rows, kept * args.rank);
  std::vector<uint8_t> scratch(
      ProductKeyCandidatesScratchBytes(
          args.query.rows, {args.heads, args.key_count, args.key_dim, args.rank, args.top_k}) +
      64);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  out.traffic = fn(args);
  return out;
}

Outcome Merge(ProductKeyMergeFn fn, const Problem& p, const std::vector<Outcome>& parts,
              int32_t own) {
  const Case& c = p.c;
  std::vector<ProductKeyMergePart> views;
  for (size_t r = 0; r < parts.size(); ++r) {
    views.push_back({parts[r].index.data(), parts[r].score.data(),
                     std::min(c.top_k, c.cuts[r + 1] - c.cuts[r])});
  }
  const int64_t kept = int64_t{c.heads} * 2 * c.top_k;
  Outcome out;
  out.index.assign(c.tokens * kept, -7);
  out.score.assign(c.tokens * kept * c.rank, -7.0f);
  ProductKeyMergeArgs args;
  args.parts = views;
  args.own_part = own;
  args.heads = c.heads;
  args.rank = c.rank;
  args.top_k = c.top_k;
  args.row_direction = c.directions ? p.u.data() : nullptr;
  args.column_direction = c.directions ? p.v.data() : nullptr;
  args.index = MakeMatrix(out.index.data(), c.tokens, kept);
  args.score = MakeMatrix(out.score.data(), c.tokens, kept * c.rank);
  out.traffic = fn(args);
  return out;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    cases.push_back({5, 1, 2, 220, 64, 2, 16, true, false, true, dtype, {0, 110, 220}});
    // Ranks with fewer keys than top_k, and one with a single key.
    cases.push_back({3, 4, 2, 37, 24, 2, 20, true, true, true, dtype, {0, 5, 6, 30, 37}});
    cases.push_back({2, 2, 1, 300, 17, 1, 300, false, false, false, dtype, {0, 100, 200, 300}});
    cases.push_back({6, 3, 2, 600, 40, 1, 1, true, true, true, dtype, {0, 257, 600}});
    cases.push_back({9, 1, 1, 530, 7, 3, 31, true, false, true, dtype, {0, 176, 353, 530}});
    cases.push_back({0, 1, 1, 8, 7, 2, 3, true, false, true, dtype, {0, 4, 8}});
  }
  return cases;
}

TEST(ProductKeyMergeTest, FindsWhatOneRankWithAllKeysFindsBitForBit) {
  for (const bool whole : {false, true}) {
    for (const Case& c : Cases()) {
      const Problem p(c, whole);
      for (Isa isa : RunnableIsas()) {
        SCOPED_TRACE(std::string(IsaName(isa)) + " keys " + std::to_string(c.key_count));
        const ProductKeyCandidatesFn fn = ResolveProductKeyCandidates(c.dtype, isa);
        const Outcome all = Candidates(fn, p.Args(0, c.key_count));
        std::vector<Outcome> parts;
        uint64_t keys = 0;
        for (size_t r = 0; r + 1 < c.cuts.size(); ++r) {
          parts.push_back(Candidates(fn, p.Args(c.cuts[r], c.cuts[r + 1])));
          keys += parts.back().traffic.read_bytes[static_cast<int>(TrafficClass::kKeys)];
        }
        const Outcome got = Merge(&ProductKeyMerge, p, parts, 1);
        EXPECT_EQ(got.index, all.index);
        EXPECT_EQ(got.score, all.score);
        const Outcome reference = Merge(&ProductKeyMergeReference, p, parts, 1);
        EXPECT_EQ(reference.index, all.index);
        EXPECT_EQ(reference.score, all.score);
        EXPECT_TRUE(reference.traffic == got.traffic);
        // Every rank reads the directions, the keys are read once.
        const uint64_t directions =
            c.directions && c.tokens > 0 ? uint64_t{2} * c.heads * c.rank * 4 : 0;
        EXPECT_EQ(keys, all.traffic.read_bytes[static_cast<int>(TrafficClass::kKeys)] +
                            (parts.size() - 1) * directions);
      }
    }
  }
}

TEST(ProductKeyMergeTest, TheReferenceCandidatesMergeToo) {
  for (const Case& c : Cases()) {
    const Problem p(c, true);
    const Outcome all = Candidates(&ProductKeyCandidatesReference, p.Args(0, c.key_count));
    std::vector<Outcome> parts;
    for (size_t r = 0; r + 1 < c.cuts.size(); ++r) {
      parts.push_back(Candidates(&ProductKeyCandidatesReference, p.Args(c.cuts[r], c.cuts[r + 1])));
    }
    EXPECT_EQ(Merge(&ProductKeyMerge, p, parts, 0).index, all.index);
  }
}

TEST(ProductKeyMergeTest, WhatOthersFoundIsExchange) {
  const Case c = Cases()[0];
  const Problem p(c, false);
  const ProductKeyCandidatesFn fn = ResolveProductKeyCandidates(c.dtype, DetectIsa());
  const std::vector<Outcome> parts = {Candidates(fn, p.Args(0, 110)),
                                      Candidates(fn, p.Args(110, 220))};
  const Traffic traffic = Merge(&ProductKeyMerge, p, parts, 0).traffic;
  const uint64_t list = uint64_t{5} * 2 * 16 * (1 + 2) * 4;
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kExchange)], list);
  EXPECT_EQ(traffic.read_bytes[static_cast<int>(TrafficClass::kActivations)], list);
  EXPECT_EQ(traffic.written_bytes[static_cast<int>(TrafficClass::kActivations)], list);
}

TEST(ProductKeyMergeTest, NotANumberKeepsIndicesInRange) {
  for (const Case& c : Cases()) {
    Problem p(c, false);
    std::fill_n(p.query.begin(), p.query.size() / 2, std::numeric_limits<float>::quiet_NaN());
    const ProductKeyCandidatesFn fn = ResolveProductKeyCandidates(c.dtype, DetectIsa());
    std::vector<Outcome> parts;
    for (size_t r = 0; r + 1 < c.cuts.size(); ++r) {
      parts.push_back(Candidates(fn, p.Args(c.cuts[r], c.cuts[r + 1])));
    }
    const Outcome got = Merge(&ProductKeyMerge, p, parts, 0);
    for (size_t list = 0; list < got.index.size() / c.top_k; ++list) {
      std::set<int32_t> seen;
      for (int32_t i = 0; i < c.top_k; ++i) {
        const int32_t index = got.index[list * c.top_k + i];
        EXPECT_TRUE(index >= 0 && index < c.key_count);
        EXPECT_TRUE(seen.insert(index).second);
      }
    }
  }
}

}  // namespace
}  // namespace mneme::kernels
