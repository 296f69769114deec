#include "kernels/product_key_candidates/product_key_candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::kernels {
namespace {

struct Case {
  int32_t tokens, heads, heads_per_group, key_count, key_dim, rank, top_k;
  bool norm, mean, weight, bias, directions;
  DType dtype;
};

// A case's inputs, and outputs of one run.
struct Problem {
  Case c;
  int64_t chunks;
  std::vector<float> query, keys_f32, inverse_norm, mean, weight, bias, u, v;
  std::vector<Bf16> keys_bf16;

  // whole: small integers, so that every sum is exact and ties are many.
  Problem(const Case& c, bool whole) : c(c), chunks(2 * ((c.heads - 1) / c.heads_per_group + 1)) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    const auto draw = [&](std::vector<float>& x, int64_t n, float shift) {
      x.resize(n);
      for (float& value : x) {
        value =
            whole ? static_cast<float>(static_cast<int>(random() % 3)) - 1 : normal(random) + shift;
      }
    };
    const int64_t keys = int64_t{c.heads} * 2 * c.key_count;
    draw(query, c.tokens * chunks * c.key_dim, 0);
    draw(keys_f32, keys * c.key_dim * c.rank, 0);
    draw(inverse_norm, keys * c.rank, 3);
    draw(mean, keys * c.rank, 0.2f);
    draw(weight, c.key_dim, 1);
    draw(bias, c.key_dim, 0);
    draw(u, int64_t{c.heads} * c.rank, 0);
    draw(v, int64_t{c.heads} * c.rank, 0);
    if (c.dtype == DType::kBf16) {
      for (float& x : keys_f32) {
        keys_bf16.push_back(ToBf16(x));
        x = ToFloat(keys_bf16.back());
      }
    }
  }

  ProductKeyCandidatesArgs Args() const {
    ProductKeyCandidatesArgs args;
    args.query = MakeMatrix(query.data(), c.tokens, chunks * c.key_dim);
    const int64_t keys = int64_t{c.heads} * 2 * c.key_count;
    const int64_t cols = int64_t{c.key_dim} * c.rank;
    args.keys = c.dtype == DType::kBf16 ? MakeTensorView(MakeMatrix(keys_bf16.data(), keys, cols))
                                        : MakeTensorView(MakeMatrix(keys_f32.data(), keys, cols));
    args.heads = c.heads;
    args.heads_per_group = c.heads_per_group;
    args.key_count = c.key_count;
    args.key_dim = c.key_dim;
    args.rank = c.rank;
    args.top_k = c.top_k;
    args.inverse_norm = c.norm ? inverse_norm.data() : nullptr;
    args.mean = c.mean ? mean.data() : nullptr;
    args.norm_weight = c.weight ? weight.data() : nullptr;
    args.norm_bias = c.bias ? bias.data() : nullptr;
    args.row_direction = c.directions ? u.data() : nullptr;
    args.column_direction = c.directions ? v.data() : nullptr;
    return args;
  }
};

struct Outcome {
  std::vector<int32_t> index;
  std::vector<float> score;
  Traffic traffic;
  bool operator==(const Outcome& other) const {
    return index == other.index && score == other.score;
  }
};

Outcome Compute(ProductKeyCandidatesFn fn, ProductKeyCandidatesArgs args) {
  const int64_t kept = int64_t{args.heads} * 2 * args.top_k;
  Outcome outcome;
  outcome.index.assign(args.query.rows * kept, -7);
  outcome.score.assign(args.query.rows * kept * args.rank, -7.0f);
  args.index = MakeMatrix(outcome.index.data(), args.query.rows, kept);
  args.score = MakeMatrix(outcome.score.data(), args.query.rows, kept * args.rank);
  std::vector<uint8_t> scratch(
      ProductKeyCandidatesScratchBytes(
          args.query.rows, {args.heads, args.key_count, args.key_dim, args.rank, args.top_k}) +
      64);
  args.scratch =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
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

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    cases.push_back({5, 1, 2, 220, 64, 2, 16, true, false, true, false, true, dtype});
    cases.push_back({3, 4, 2, 37, 24, 2, 5, true, true, true, true, true, dtype});
    cases.push_back({2, 2, 1, 300, 17, 1, 300, false, false, false, false, false, dtype});
    cases.push_back({6, 3, 2, 65, 40, 1, 1, true, true, false, true, true, dtype});
    cases.push_back({9, 1, 1, 530, 7, 2, 31, true, false, false, false, true, dtype});
    cases.push_back({2, 2, 2, 19, 9, 3, 4, true, true, true, true, true, dtype});
    cases.push_back({1, 1, 1, 1, 1, 2, 1, false, true, true, true, true, dtype});
    cases.push_back({1, 1, 1, 270, 512, 2, 32, true, false, true, false, true, dtype});
  }
  return cases;
}

std::string Name(const Case& c, Isa isa) {
  return std::string(IsaName(isa)) + " " + DTypeName(c.dtype) + " keys " +
         std::to_string(c.key_count) + " dim " + std::to_string(c.key_dim) + " rank " +
         std::to_string(c.rank);
}

double Preselect(const Problem& p, int32_t head, int32_t side, const float* score) {
  if (!p.c.directions) return score[0];
  double sum = 0;
  for (int32_t r = 0; r < p.c.rank; ++r) {
    sum += double{score[r]} * (side == 0 ? p.u : p.v)[head * p.c.rank + r];
  }
  return sum;
}

// How far a score of either implementation may be from exact: a sum of key_dim + 4 roundings,
// relative to the sum of absolute values; twice, for two implementations.
double ScoreTolerance(const Problem& p, int64_t token, int32_t head, int32_t side, int32_t key,
                      int32_t rho) {
  const Case& c = p.c;
  const int64_t row = (int64_t{head} * 2 + side) * c.key_count + key;
  const float* q = &p.query[(token * p.chunks + 2 * (head / c.heads_per_group) + side) * c.key_dim];
  double sum = 0;
  double bias = 0;
  for (int32_t k = 0; k < c.key_dim; ++k) {
    const double w = c.norm && c.weight ? p.weight[k] : 1.0;
    const double mean = c.norm && c.mean ? std::abs(p.mean[row * c.rank + rho]) : 0.0;
    const double key_k = std::abs(p.keys_f32[(row * c.key_dim + k) * c.rank + rho]);
    sum += std::abs(q[k] * w) * (key_k + mean);
    if (c.norm && c.bias) bias += std::abs(q[k] * p.bias[k]);
  }
  if (c.norm) sum *= std::abs(p.inverse_norm[row * c.rank + rho]);
  return 2 * (c.key_dim + 4) * (std::numeric_limits<float>::epsilon() / 2) * (sum + bias);
}

TEST(ProductKeyCandidatesTest, MatchesReferenceAtOddShapes) {
  for (const Case& c : Cases()) {
    const Problem p(c, false);
    ProductKeyCandidatesArgs all = p.Args();
    all.top_k = c.key_count;  // The reference's score of every key.
    const Outcome full = Compute(&ProductKeyCandidatesReference, all);
    const Outcome expected = Compute(&ProductKeyCandidatesReference, p.Args());
    for (Isa isa : Isas()) {
      SCOPED_TRACE(Name(c, isa));
      const Outcome actual = Compute(ResolveProductKeyCandidates(c.dtype, isa), p.Args());
      EXPECT_TRUE(actual.traffic == expected.traffic);
      for (int64_t list = 0; list < int64_t{c.tokens} * c.heads * 2; ++list) {
        const int64_t token = list / (c.heads * 2);
        const int32_t head = list / 2 % c.heads;
        const int32_t side = list % 2;
        std::vector<int64_t> place(c.key_count);  // of each key in the reference's full list
        for (int32_t i = 0; i < c.key_count; ++i) place[full.index[list * c.key_count + i]] = i;
        std::set<int32_t> seen;
        double previous = std::numeric_limits<double>::infinity();
        double preselect_tolerance = 0;
        for (int32_t i = 0; i < c.top_k; ++i) {
          const int64_t out = list * c.top_k + i;
          const int32_t key = actual.index[out];
          ASSERT_TRUE(key >= 0 && key < c.key_count);
          EXPECT_TRUE(seen.insert(key).second);
          double tolerance = 0;
          for (int32_t rho = 0; rho < c.rank; ++rho) {
            const double one = ScoreTolerance(p, token, head, side, key, rho);
            const float* ref = &full.score[(list * c.key_count + place[key]) * c.rank];
            EXPECT_LE(std::abs(actual.score[out * c.rank + rho] - ref[rho]), one);
            tolerance += one * (c.directions ? 5 : 1);
          }
          preselect_tolerance = std::max(preselect_tolerance, tolerance);
          const double mine = Preselect(p, head, side, &actual.score[out * c.rank]);
          const double reference = Preselect(p, head, side, &expected.score[out * c.rank]);
          EXPECT_LE(mine, previous + preselect_tolerance);
          EXPECT_NEAR(mine, reference, 2 * preselect_tolerance) << "place " << i;
          previous = mine;
        }
      }
    }
  }
}

TEST(ProductKeyCandidatesTest, TiesKeepTheLowerIndexInDescendingOrder) {
  for (const Case& c : Cases()) {
    const Problem p(c, true);
    const Outcome expected = Compute(&ProductKeyCandidatesReference, p.Args());
    for (Isa isa : Isas()) {
      EXPECT_TRUE(expected == Compute(ResolveProductKeyCandidates(c.dtype, isa), p.Args()))
          << Name(c, isa);
    }
  }
}

TEST(ProductKeyCandidatesTest, ATokenAloneHasTheBitsItHasInABatch) {
  for (const Case& shape : Cases()) {
    Case c = shape;
    c.tokens = 11;
    const Problem p(c, false);
    const int64_t kept = int64_t{c.heads} * 2 * c.top_k;
    for (Isa isa : Isas()) {
      const ProductKeyCandidatesFn fn = ResolveProductKeyCandidates(c.dtype, isa);
      const Outcome batch = Compute(fn, p.Args());
      for (int64_t count : {1, 2, 3}) {
        for (int64_t first = 0; first + count <= c.tokens; first += count) {
          ProductKeyCandidatesArgs args = p.Args();
          args.query = args.query.Rows(first, count);
          const Outcome part = Compute(fn, args);
          EXPECT_TRUE(
              std::equal(part.index.begin(), part.index.end(), batch.index.begin() + first * kept))
              << Name(c, isa);
          EXPECT_TRUE(std::equal(part.score.begin(), part.score.end(),
                                 batch.score.begin() + first * kept * c.rank))
              << Name(c, isa);
        }
      }
    }
  }
}

TEST(ProductKeyCandidatesTest, Avx2AndAvx512GiveTheSameBits) {
  if (DetectIsa() < Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  for (const Case& c : Cases()) {
    const Problem p(c, false);
    EXPECT_TRUE(Compute(ResolveProductKeyCandidates(c.dtype, Isa::kAvx2), p.Args()) ==
                Compute(ResolveProductKeyCandidates(c.dtype, Isa::kAvx512), p.Args()));
  }
}

TEST(ProductKeyCandidatesTest, NotANumberKeepsIndicesInRange) {
  const Case c{3, 1, 1, 100, 32, 2, 8, true, false, false, false, true, DType::kF32};
  Problem p(c, false);
  std::fill(p.query.begin(), p.query.begin() + 64, std::numeric_limits<float>::quiet_NaN());
  p.keys_f32[70 * 64] = std::numeric_limits<float>::quiet_NaN();
  for (Isa isa : Isas()) {
    const Outcome outcome = Compute(ResolveProductKeyCandidates(c.dtype, isa), p.Args());
    for (int32_t index : outcome.index) EXPECT_TRUE(index >= 0 && index < c.key_count);
  }
}

TEST(ProductKeyCandidatesTest, OtherKeyTypesAreNotSupported) {
  EXPECT_EQ(ResolveProductKeyCandidates(DType::kI32, DetectIsa()), nullptr);
}

}  // namespace
}  // namespace mneme::kernels
