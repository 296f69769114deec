// Every golden checkpoint through graph, plan and actors on one to four ranks, with every
// implementation of the kernels that this machine runs, against the outputs of the official
// implementation.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/device/isa.h"
#include "tests/model/golden_case.h"
#include "tests/model/rank_runner.h"

namespace mneme::testing {
namespace {

using kernels::Isa;

// Distance allowed to the golden outputs, in standard deviations of the golden values. A plain
// float32 implementation reaches 1e-5 (tests/golden/README.md).
constexpr double kTolerance = 1e-4;
constexpr double kPlainTolerance = 1e-5;

struct Variant {
  std::string name;
  Isa isa;
  bool reference;
  int32_t ranks = 1;
};

std::vector<Variant> Variants() {
  std::vector<Variant> variants = {{"reference", Isa::kPortable, true}};
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= kernels::DetectIsa()) variants.push_back({kernels::IsaName(isa), isa, false});
  }
  for (int32_t ranks : {2, 3, 4}) {
    variants.push_back({absl::StrCat(ranks, " ranks"), kernels::DetectIsa(), false, ranks});
  }
  return variants;
}

int Actors(const v1::Plan& plan, v1::OperatorKind kind) {
  return static_cast<int>(
      std::count_if(plan.actors().begin(), plan.actors().end(),
                    [&](const v1::Actor& actor) { return actor.kind() == kind; }));
}

std::unique_ptr<RankRunner> Runner(const GoldenCase& golden, const Variant& variant,
                                   bool round_to_bf16 = false) {
  ModelOptions options;
  options.model_directory = golden.directory();
  options.trace = true;
  options.isa = variant.isa;
  options.reference_kernels = variant.reference;
  options.round_to_bf16 = round_to_bf16;
  options.ranks = variant.ranks;
  // As if exchanges cost nothing: whatever can be split is.
  options.cost.exchange_seconds = 1e-12;  // of equal plans the one with fewer exchanges
  options.cost.exchange_seconds_per_rank = 0;
  auto runner = RankRunner::Create(options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  if (!runner.ok()) return nullptr;
  EXPECT_EQ((*runner)->executor().ranks(), variant.ranks);
  EXPECT_EQ(Actors((*runner)->plan(), v1::ALL_REDUCE) > 0, variant.ranks > 1) << variant.name;
  return *std::move(runner);
}

std::vector<Chunk> WholeInput(const GoldenCase& golden) {
  const auto rows = golden.Rows("input_ids");
  return {{0, rows[0]}, {1, rows[1]}};
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LogitsMatch) {
  const GoldenCase golden(GetParam());
  const std::vector<float> expected = golden.Floats("logits");
  const double unit = StandardDeviation(expected);
  for (const Variant& variant : Variants()) {
    auto runner = Runner(golden, variant);
    ASSERT_NE(runner, nullptr);
    const double difference = LargestDifference(expected, runner->Run(WholeInput(golden))) / unit;
    EXPECT_LE(difference, 2 * kPlainTolerance) << variant.name;
  }
}

// Selections of each head as a set, scores of each by value, outputs by value.
void CheckMemoryLayer(const GoldenCase& golden, const RankRunner& runner, int layer) {
  const std::string suffix = absl::StrCat(".", layer);
  const loader::MemoryDescription& memory = *runner.model().memory;
  const auto grid = runner.executor().Trace(absl::StrCat("memory.", layer, ".grid")).As<int32_t>();
  const auto score = runner.executor().Trace(absl::StrCat("memory.", layer, ".score")).As<float>();
  const auto out = runner.executor().Trace(absl::StrCat("memory.", layer, ".out")).As<float>();
  const auto golden_grid = golden.Rows("mem_grid_index" + suffix);
  const std::vector<float> golden_score = golden.Floats("mem_score" + suffix);
  const double unit = StandardDeviation(golden_score);
  const int64_t cores = memory.cores;
  ASSERT_EQ(grid.rows, static_cast<int64_t>(golden_grid.size()));
  ASSERT_EQ(grid.rows * score.cols, static_cast<int64_t>(golden_score.size()));
  for (int64_t t = 0; t < grid.rows; ++t) {
    for (int64_t head = 0; head < memory.heads; ++head) {
      std::map<int32_t, int64_t> got;
      std::map<int32_t, int64_t> expected;
      for (int64_t s = head * memory.top_k; s < (head + 1) * memory.top_k; ++s) {
        got[grid.row(t)[s]] = s;
        expected[golden_grid[t][s]] = s;
      }
      for (const auto& [index, s] : expected) {
        ASSERT_EQ(got.count(index), 1u) << "layer " << layer << " token " << t << " head " << head;
        for (int64_t c = 0; c < cores; ++c) {
          EXPECT_NEAR(score.row(t)[got[index] * cores + c],
                      golden_score[t * score.cols + s * cores + c], kTolerance * unit);
        }
      }
    }
  }
  const std::vector<float> golden_out = golden.Floats("mem_out" + suffix);
  std::vector<std::vector<float>> rows;
  for (int64_t t = 0; t < out.rows; ++t) rows.emplace_back(out.row(t), out.row(t) + out.cols);
  EXPECT_LE(LargestDifference(golden_out, rows), kTolerance * StandardDeviation(golden_out));
}

TEST_P(GoldenTest, SelectionsScoresAndOutputsMatch) {
  const GoldenCase golden(GetParam());
  for (const Variant& variant : Variants()) {
    auto runner = Runner(golden, variant);
    ASSERT_NE(runner, nullptr);
    runner->Run(WholeInput(golden));
    if (!runner->model().memory) {
      EXPECT_FALSE(golden.Has("mem_grid_index.0"));
      continue;
    }
    const auto& layers = runner->model().memory->layers;
    int checked = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      ASSERT_TRUE(golden.Has(absl::StrCat("mem_grid_index.", i)));
      if (layers[i].lost) continue;
      CheckMemoryLayer(golden, *runner, static_cast<int>(i));
      ++checked;
    }
    EXPECT_GT(checked, 0);
  }
}

TEST_P(GoldenTest, GreedyTokensMatch) {
  const GoldenCase golden(GetParam());
  const auto prompts = golden.Rows("greedy_prompt");
  const auto continuations = golden.Rows("greedy_continuation");
  for (const Variant& variant : Variants()) {
    auto runner = Runner(golden, variant);
    ASSERT_NE(runner, nullptr);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto sequence = static_cast<int32_t>(i);
      std::vector<float> last = runner->Run({{sequence, prompts[i]}}).back();
      std::vector<int32_t> got;
      while (got.size() < continuations[i].size()) {
        got.push_back(ArgMax(last, runner->model().vocab_size));
        last = runner->Run({{sequence, {got.back()}}}).back();
      }
      EXPECT_EQ(got, continuations[i]) << variant.name;
    }
  }
}

// With weights rounded to bf16: the fast kernels against the float32 reference kernels on the same
// rounded weights.
TEST_P(GoldenTest, RoundedWeightsMatchTheReferenceKernels) {
  const GoldenCase golden(GetParam());
  const std::vector<Variant> variants = Variants();
  auto reference = Runner(golden, variants[0], /*round_to_bf16=*/true);
  ASSERT_NE(reference, nullptr);
  std::vector<float> expected;
  for (const auto& row : reference->Run(WholeInput(golden))) {
    expected.insert(expected.end(), row.begin(), row.end());
  }
  const double unit = StandardDeviation(expected);
  for (const Variant& variant : variants) {
    auto runner = Runner(golden, variant, /*round_to_bf16=*/true);
    ASSERT_NE(runner, nullptr);
    EXPECT_LE(LargestDifference(expected, runner->Run(WholeInput(golden))), kTolerance * unit)
        << variant.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mneme::testing
