// A converted checkpoint gives the bits of the unconverted one: on one rank and several, threads
// and processes, in every way that tables and weights may be divided, mapped and copied.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/invocation.h"
#include "engine/make_executor.h"
#include "engine/rank_weights.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "tests/model/golden_case.h"

namespace mneme::testing {
namespace {

using Layouts = plan::LayoutPins;

// What is served of a folder, one sequence at a time.
struct Served {
  PlannedModel planned;
  loader::PackedWeights weights;
  std::unique_ptr<runtime::Executor> executor;

  explicit Served(const ModelOptions& options) {
    planned = PlanModel(options).value();
    weights = options.process.processes > 1 ? PackRank(planned, options, 0).value()
                                            : PackModel(planned, options).value();
    executor = MakeExecutor(planned, weights, options).value();
  }

  // The logits of all rows of a step.
  std::vector<float> Step(int32_t position, const std::vector<int32_t>& tokens) {
    runtime::Step* step = executor->NextStep();
    if (position == 0) {
      for (int32_t b = 0; b < 4; ++b) step->AddBlockChange(0, b, b);
    }
    step->AddSpan(0, position, tokens);
    for (int32_t row = 0; row < step->tokens(); ++row) step->AddLogitRow(row);
    executor->Submit();
    const runtime::StepResult& result = executor->Wait();
    EXPECT_TRUE(result.status.ok()) << result.status;
    std::vector<float> logits;
    for (int64_t r = 0; r < result.logits.rows; ++r) {
      const float* row = result.logits.row(r);
      logits.insert(logits.end(), row, row + result.logits.cols);
    }
    executor->Release();
    return logits;
  }
};

ModelOptions Options(const std::string& directory, int32_t ranks) {
  ModelOptions options;
  options.model_directory = directory;
  options.max_step_tokens = 64;
  options.max_sequences = 4;
  options.ranks = ranks;
  // As if exchanges cost nothing: whatever can be split is.
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  return options;
}

ModelOptions AsProcesses(ModelOptions options) {
  options.process.processes = options.ranks;
  options.process.executable = "clients/cli/mneme";
  options.process.build = cli::kVersion;
  return options;
}

// The golden checkpoint, converted into files of at most 4 MB.
std::string Converted(const std::string& name) {
  const std::string out = absl::StrCat(::testing::TempDir(), "/native_", name);
  if (std::filesystem::exists(out + "/manifest.json")) return out;
  const loader::Checkpoint source = loader::InspectCheckpoint("tests/golden/" + name).value();
  loader::ConvertOptions options;
  options.shard_bytes = int64_t{4} << 20;
  const auto report = loader::ConvertCheckpoint(source, out, options, {});
  EXPECT_TRUE(report.ok()) << report.status();
  return out;
}

// Both as `change` wants them, step by step.
void ExpectSameBits(const std::string& name, const ModelOptions& unconverted,
                    const ModelOptions& converted) {
  const GoldenCase golden(name);
  Served before(unconverted);
  Served after(converted);
  int32_t position = 0;
  for (const std::vector<int32_t>& tokens : {golden.Rows("input_ids")[0], {3}, {5}, {7, 11}}) {
    ASSERT_EQ(after.Step(position, tokens), before.Step(position, tokens));
    position += static_cast<int32_t>(tokens.size());
  }
}

class NativeTest : public ::testing::TestWithParam<std::string> {
 protected:
  const std::string source_ = "tests/golden/" + GetParam();
  const std::string native_ = Converted(GetParam());
};

TEST_P(NativeTest, ThreadsGiveTheSameBitsInEveryLayout) {
  const bool memory = GoldenCase(GetParam()).Has("mem_grid_index.0");
  for (const int32_t ranks : {1, 2, 3}) {
    for (const auto weights : {Layouts::Weights::kFree, Layouts::Weights::kSplit}) {
      for (const auto tables : {Layouts::Tables::kFree, Layouts::Tables::kRows,
                                Layouts::Tables::kColumns, Layouts::Tables::kSelections}) {
        if (ranks == 1 &&
            (weights != Layouts::Weights::kFree || tables != Layouts::Tables::kFree)) {
          continue;
        }
        if (tables != Layouts::Tables::kFree && (!memory || weights == Layouts::Weights::kSplit)) {
          continue;
        }
        SCOPED_TRACE(absl::StrCat(ranks, " ranks, weights ", static_cast<int>(weights), ", tables ",
                                  static_cast<int>(tables)));
        ModelOptions before = Options(source_, ranks);
        before.pins.weights = weights;
        before.pins.tables = tables;
        if (!PlanModel(before).ok()) continue;  // not every table can be split by columns
        ModelOptions after = before;
        after.model_directory = native_;
        ExpectSameBits(GetParam(), before, after);
        after.huge_pages = true;
        ExpectSameBits(GetParam(), before, after);
      }
    }
  }
}

TEST_P(NativeTest, ProcessesGiveTheSameBitsInEveryLayout) {
  const bool memory = GoldenCase(GetParam()).Has("mem_grid_index.0");
  for (const auto tables : {Layouts::Tables::kFree, Layouts::Tables::kRows,
                            Layouts::Tables::kColumns, Layouts::Tables::kSelections}) {
    for (const bool huge_pages : {false, true}) {
      if (tables != Layouts::Tables::kFree && !memory) continue;
      SCOPED_TRACE(absl::StrCat("tables ", static_cast<int>(tables), ", huge ", huge_pages));
      ModelOptions before = Options(source_, 2);
      before.pins.tables = tables;
      if (tables == Layouts::Tables::kFree) before.pins.weights = Layouts::Weights::kSplit;
      if (!PlanModel(before).ok()) continue;
      ModelOptions after = AsProcesses(before);
      after.model_directory = native_;
      after.huge_pages = huge_pages;
      // Processes may plan otherwise than threads: by a model of their own they have the same bits.
      ExpectSameBits(GetParam(), AsProcesses(before), after);
    }
  }
}

TEST_P(NativeTest, OtherWeightsThanStoredAreThoseOfTheSource) {
  for (const bool bf16 : {true, false}) {
    ModelOptions before = Options(source_, 2);
    before.round_to_bf16 = bf16;
    before.widen_to_f32 = !bf16;
    ModelOptions after = before;
    after.model_directory = native_;
    ExpectSameBits(GetParam(), before, after);
    // Processes pack parts, threads do not.
    ExpectSameBits(GetParam(), before, AsProcesses(before));
    ExpectSameBits(GetParam(), before, AsProcesses(after));
  }
}

TEST_P(NativeTest, NothingIsMadeInMemory) {
  const ModelOptions options = Options(native_, 1);
  const PlannedModel planned = PlanModel(options).value();
  EXPECT_EQ(PackModel(planned, options).value().owned_bytes(), 0);
  // Of fewer positions, too.
  ModelOptions shorter = options;
  shorter.max_model_len = 17;
  const PlannedModel shorter_planned = PlanModel(shorter).value();
  EXPECT_EQ(PackModel(shorter_planned, shorter).value().owned_bytes(), 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, NativeTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mneme::testing
