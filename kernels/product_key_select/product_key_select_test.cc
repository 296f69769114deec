#include "kernels/product_key_select/product_key_select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

struct Case {
  ProductKeyMode mode;
  int32_t tokens, heads, top_k, rank, cores, key_count;
  bool shuffle;
  int64_t window, offset, slots;
};

struct Problem {
  Case c;
  std::vector<int32_t> index, shuffle;
  std::vector<float> score, core;

  // whole: small integers, so that ties are many.
  Problem(const Case& c, bool whole) : c(c) {
    std::mt19937 random(9);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::vector<float>& x, int64_t n) {
      x.resize(n);
      for (float& value : x) {
        value = whole ? static_cast<float>(static_cast<int>(random() % 5)) - 2 : normal(random);
      }
    };
    const int64_t lists = int64_t{c.tokens} * c.heads * 2;
    draw(score, lists * c.top_k * c.rank);
    draw(core, int64_t{c.cores} * c.heads * c.rank * c.rank);
    std::vector<int32_t> keys(c.key_count);
    std::iota(keys.begin(), keys.end(), 0);
    for (int64_t i = 0; i < lists; ++i) {
      std::shuffle(keys.begin(), keys.end(), random);
      index.insert(index.end(), keys.begin(), keys.begin() + c.top_k);
      if (c.mode == ProductKeyMode::kSum) {
        float* list = &score[i * c.top_k];
        std::sort(list, list + c.top_k, std::greater<float>());
      }
    }
    shuffle.resize(int64_t{c.key_count} * c.key_count);
    std::iota(shuffle.begin(), shuffle.end(), 0);
    std::shuffle(shuffle.begin(), shuffle.end(), random);
  }

  ProductKeySelectArgs Args() const {
    ProductKeySelectArgs args;
    args.mode = c.mode;
    args.index = MakeMatrix(index.data(), c.tokens, int64_t{c.heads} * 2 * c.top_k);
    args.score = MakeMatrix(score.data(), c.tokens, int64_t{c.heads} * 2 * c.top_k * c.rank);
    args.heads = c.heads;
    args.top_k = c.top_k;
    args.rank = c.rank;
    args.cores = c.cores;
    args.key_count = c.key_count;
    args.core = c.mode == ProductKeyMode::kTucker ? core.data() : nullptr;
    args.shuffle = c.shuffle ? shuffle.data() : nullptr;
    args.window = c.window;
    args.offset = c.offset;
    args.slots = c.slots;
    return args;
  }
};

struct Outcome {
  std::vector<int32_t> grid, slot, group;
  std::vector<float> raw, weight;
  Traffic traffic;
};

Outcome Compute(ProductKeySelectFn fn, ProductKeySelectArgs args, bool with_weight = true) {
  const int64_t selections = int64_t{args.heads} * args.top_k;
  const int64_t tokens = args.index.rows;
  Outcome out;
  for (auto* x : {&out.grid, &out.slot, &out.group}) x->assign(tokens * selections, -7);
  out.raw.assign(tokens * selections * args.cores, -7.0f);
  out.weight.assign(out.raw.size(), -7.0f);
  args.grid = MakeMatrix(out.grid.data(), tokens, selections);
  args.slot = MakeMatrix(out.slot.data(), tokens, selections);
  args.group = MakeMatrix(out.group.data(), tokens, selections);
  args.raw_score = MakeMatrix(out.raw.data(), tokens, selections * args.cores);
  if (with_weight) args.weight = MakeMatrix(out.weight.data(), tokens, selections * args.cores);
  std::vector<uint8_t> scratch(ProductKeySelectScratchBytes(args.top_k, args.rank, args.cores) +
                               64);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
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

constexpr ProductKeyMode kTucker = ProductKeyMode::kTucker;
constexpr ProductKeyMode kSum = ProductKeyMode::kSum;

std::vector<Case> Cases() {
  return {
      {kTucker, 7, 1, 16, 2, 2, 220, true, 12100, 3000, 24576},
      {kTucker, 3, 1, 32, 2, 2, 64, true, 1024, 5000, 6000},
      {kTucker, 4, 4, 5, 2, 2, 9, true, 81, 0, 81},
      {kTucker, 2, 2, 17, 3, 2, 20, false, 7, 1000, 11},
      {kTucker, 2, 1, 1, 2, 1, 1, true, 1, 3, 4},
      {kTucker, 3, 3, 40, 1, 4, 50, true, int64_t{1} << 33, 1, int64_t{1} << 31},
      {kSum, 5, 4, 16, 1, 1, 33, false, 1089, 0, 1089},
      {kSum, 3, 1, 32, 1, 1, 40, false, 1600, 0, 1600},
      {kSum, 2, 2, 3, 1, 1, 3, false, 9, 0, 9},
  };
}

TEST(ProductKeySelectTest, SelectsAndScoresExactlyAsTheReference) {
  for (const Case& c : Cases()) {
    for (bool whole : {false, true}) {
      const Problem p(c, whole);
      const Outcome expected = Compute(&ProductKeySelectReference, p.Args());
      for (Isa isa : Isas()) {
        SCOPED_TRACE(std::string(IsaName(isa)) + " top_k " + std::to_string(c.top_k) + " rank " +
                     std::to_string(c.rank) + (whole ? " ties" : ""));
        const Outcome actual = Compute(ResolveProductKeySelect(isa), p.Args());
        EXPECT_EQ(expected.grid, actual.grid);
        EXPECT_EQ(expected.slot, actual.slot);
        EXPECT_EQ(expected.group, actual.group);
        EXPECT_EQ(expected.raw, actual.raw);
        // Weights of a softmax: exp within 2 ulp and a sum of top_k terms, in both.
        const float tolerance = (2 * c.top_k + 8) * std::numeric_limits<float>::epsilon();
        for (size_t i = 0; i < expected.weight.size(); ++i) {
          EXPECT_NEAR(expected.weight[i], actual.weight[i],
                      c.mode == kSum ? tolerance * expected.weight[i] : 0.0f);
        }
        EXPECT_TRUE(expected.traffic == actual.traffic);
      }
    }
  }
}

TEST(ProductKeySelectTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Case& c : Cases()) {
    const Problem p(c, false);
    const int64_t selections = int64_t{c.heads} * c.top_k;
    for (Isa isa : Isas()) {
      const ProductKeySelectFn fn = ResolveProductKeySelect(isa);
      const Outcome batch = Compute(fn, p.Args());
      for (int64_t t = 0; t < c.tokens; ++t) {
        ProductKeySelectArgs args = p.Args();
        args.index = args.index.Rows(t, 1);
        args.score = args.score.Rows(t, 1);
        const Outcome alone = Compute(fn, args);
        EXPECT_TRUE(
            std::equal(alone.slot.begin(), alone.slot.end(), batch.slot.begin() + t * selections));
        EXPECT_TRUE(std::equal(alone.weight.begin(), alone.weight.end(),
                               batch.weight.begin() + t * selections * c.cores));
      }
    }
  }
}

TEST(ProductKeySelectTest, WithoutWeightsTheRawScoresAreWritten) {
  const Problem p(Cases()[0], false);
  for (Isa isa : Isas()) {
    const Outcome with = Compute(ResolveProductKeySelect(isa), p.Args());
    const Outcome without = Compute(ResolveProductKeySelect(isa), p.Args(), false);
    EXPECT_EQ(with.raw, without.raw);
    EXPECT_EQ(with.raw, with.weight);
    EXPECT_EQ(without.weight[0], -7.0f);
  }
}

TEST(ProductKeySelectTest, AddressesFollowTheFormulaByHand) {
  // One selection: row 2, column 1 of a 4 x 4 grid is grid 9; shuffled to 13; windows of 5: group
  // 2, slot (3 + 6) % 7 = 2.
  const int32_t index[] = {2, 1};
  const float score[] = {1.5f, 2.0f};
  int32_t shuffle[16] = {};
  shuffle[9] = 13;
  const float core[] = {3.0f};
  ProductKeySelectArgs args;
  args.index = MakeMatrix(index, 1, 2);
  args.score = MakeMatrix(score, 1, 2);
  args.heads = args.top_k = 1;
  args.key_count = 4;
  args.core = core;
  args.shuffle = shuffle;
  args.window = 5;
  args.offset = 6;
  args.slots = 7;
  for (Isa isa : Isas()) {
    const Outcome out = Compute(ResolveProductKeySelect(isa), args);
    EXPECT_EQ(out.grid[0], 9);
    EXPECT_EQ(out.group[0], 2);
    EXPECT_EQ(out.slot[0], 2);
    EXPECT_EQ(out.raw[0], 9.0f);
  }
}

TEST(ProductKeySelectTest, NotANumberKeepsAddressesInRange) {
  const Case c = Cases()[0];
  Problem p(c, false);
  std::fill(p.score.begin(), p.score.begin() + 40, std::numeric_limits<float>::quiet_NaN());
  for (Isa isa : Isas()) {
    for (int32_t slot : Compute(ResolveProductKeySelect(isa), p.Args()).slot) {
      EXPECT_TRUE(slot >= 0 && slot < c.slots);
    }
  }
}

}  // namespace
}  // namespace mneme::kernels
