// Every golden checkpoint with its weights split in every way that plans know, on one to four
// ranks: the outputs of the official implementation, and each time the same bits. And: every
// signature that an operator declares, and every boxing, has run in one of them.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/forms.h"
#include "engine/graph/memory_transformer.h"
#include "engine/graph/signatures.h"
#include "engine/plan/plan_of_rank.h"
#include "gtest/gtest.h"
#include "tests/model/golden_case.h"
#include "tests/model/rank_runner.h"

namespace mneme::testing {
namespace {

using plan::LayoutPins;

// In standard deviations of the golden logits: tests/model/golden_test.cc.
constexpr double kTolerance = 2e-5;

ModelOptions Options(const std::string& directory, int32_t ranks, const LayoutPins& pins) {
  ModelOptions options;
  options.model_directory = directory;
  options.ranks = ranks;
  options.pins = pins;
  // As if exchanges cost nothing: whatever can be split is.
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  return options;
}

LayoutPins Split(LayoutPins::Tables tables) {
  LayoutPins pins;
  pins.weights = LayoutPins::Weights::kSplit;
  pins.tables = tables;
  return pins;
}

std::vector<LayoutPins> AllPins(const GoldenCase& golden, int32_t ranks) {
  using Tables = LayoutPins::Tables;
  std::vector<LayoutPins> all = {{}, Split(Tables::kFree)};
  if (ranks > 1 && golden.Has("rope_inv_freq")) {  // those of Mixtures-of-Experts
    for (LayoutPins::Experts experts : {LayoutPins::Experts::kWhole, LayoutPins::Experts::kWidth}) {
      all.push_back(Split(Tables::kFree));
      all.back().experts = experts;
    }
  }
  if (ranks == 1 || !golden.Has("mem_out.0")) return all;
  for (Tables tables : {Tables::kRows, Tables::kColumns, Tables::kSelections}) {
    all.push_back(Split(tables));
  }
  return all;
}

std::vector<Chunk> WholeInput(const GoldenCase& golden) {
  const auto rows = golden.Rows("input_ids");
  return {{0, rows[0]}, {1, rows[1]}};
}

// Both sequences' continuations, side by side.
std::vector<std::vector<int32_t>> Greedy(const GoldenCase& golden, RankRunner& runner,
                                         size_t tokens) {
  const auto prompts = golden.Rows("greedy_prompt");
  runner.Reset(0);
  runner.Reset(1);
  std::vector<std::vector<int32_t>> got(2);
  std::vector<Chunk> chunks = {{0, prompts[0]}, {1, prompts[1]}};
  while (got[0].size() < tokens) {
    const auto logits = runner.Run(chunks);
    const std::vector<float>* last[] = {&logits[chunks[0].tokens.size() - 1], &logits.back()};
    for (int s : {0, 1}) {
      got[s].push_back(ArgMax(*last[s], runner.model().vocab_size));
      chunks[s].tokens = {got[s].back()};
    }
  }
  return got;
}

// The same, with other layouts of activations in steps larger than a decode step.
LayoutPins With(LayoutPins::LargeSteps large, LayoutPins pins) {
  pins.large_steps = large;
  return pins;
}

class LayoutTest : public ::testing::TestWithParam<std::string> {};

TEST_P(LayoutTest, LogitsAndGreedyTokensMatchAndAreTheSameBitsTwice) {
  const GoldenCase golden(GetParam());
  const std::vector<float> expected = golden.Floats("logits");
  const double unit = StandardDeviation(expected);
  const auto continuations = golden.Rows("greedy_continuation");
  for (int32_t ranks : {1, 2, 3, 4}) {
    for (const LayoutPins& pins : AllPins(golden, ranks)) {
      SCOPED_TRACE(absl::StrCat(ranks, " ranks, ", plan::PinsText(pins)));
      auto runner = RankRunner::Create(Options(golden.directory(), ranks, pins));
      ASSERT_TRUE(runner.ok()) << runner.status();
      const auto logits = (*runner)->Run(WholeInput(golden));
      EXPECT_LE(LargestDifference(expected, logits) / unit, kTolerance);
      (*runner)->Reset(0);
      (*runner)->Reset(1);
      EXPECT_EQ((*runner)->Run(WholeInput(golden)), logits);
      EXPECT_EQ(Greedy(golden, **runner, continuations[0].size()), continuations);
    }
  }
}

// Whether a plan divides any rows.
bool DividesRows(const v1::Plan& plan) {
  for (const v1::Program& program : plan.programs()) {
    for (const v1::Register& reg : program.registers()) {
      if (reg.layout().kind() == v1::Layout::SPLIT && reg.layout().axis() == 0) return true;
    }
  }
  return false;
}

// Every token of the last step has its part of the rows read, and all have them together.
void CheckValueRowBytes(const RankRunner& runner) {
  double all = 0;
  for (const double bytes : runner.result().token_value_row_bytes) {
    EXPECT_GT(bytes, 0);
    all += bytes;
  }
  const auto read =
      runner.result().traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kValueRows)];
  EXPECT_NEAR(all, static_cast<double>(read), 1e-6 * static_cast<double>(read));
}

// One row at a time, then all of it, then in chunks of sizes that have programs of their own.
TEST_P(LayoutTest, StepsOfAllSizesGiveTheSameBitsWhateverTheirLayouts) {
  const GoldenCase golden(GetParam());
  const std::vector<int32_t> input = golden.Rows("input_ids")[0];
  for (int32_t ranks : {2, 3, 4}) {
    for (const LayoutPins& pins : AllPins(golden, ranks)) {
      SCOPED_TRACE(absl::StrCat(ranks, " ranks, ", plan::PinsText(pins)));
      const LayoutPins same = With(LayoutPins::LargeSteps::kSame, pins);
      auto runner = RankRunner::Create(Options(golden.directory(), ranks, same));
      ASSERT_TRUE(runner.ok()) << runner.status();
      EXPECT_EQ((*runner)->plan().programs_size(), 0);
      const auto expected = (*runner)->Run({{0, input}});
      for (LayoutPins::LargeSteps large :
           {LayoutPins::LargeSteps::kFree, LayoutPins::LargeSteps::kRows}) {
        auto varied = RankRunner::Create(Options(golden.directory(), ranks, With(large, pins)));
        ASSERT_TRUE(varied.ok()) << varied.status();
        EXPECT_TRUE(large == LayoutPins::LargeSteps::kFree || DividesRows((*varied)->plan()));
        for (size_t chunk : {input.size(), size_t{1}, size_t{2} * ranks + 1}) {
          (*varied)->Reset(0);
          std::vector<std::vector<float>> got;
          for (size_t i = 0; i < input.size(); i += chunk) {
            const size_t end = std::min(input.size(), i + chunk);
            for (auto& row : (*varied)->Run({{0, {input.begin() + i, input.begin() + end}}})) {
              got.push_back(std::move(row));
            }
            if (golden.Has("mem_out.0")) CheckValueRowBytes(**varied);
          }
          EXPECT_EQ(got, expected) << plan::PinsText(With(large, pins)) << " by " << chunk;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LayoutTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

// A signature of one kind of operator: "LINEAR (B, S(0)) -> S(1)".
std::string Key(v1::OperatorKind kind, const std::string& signature) {
  return absl::StrCat(v1::OperatorKind_Name(kind), " ", signature);
}

// What the ranks of a runner have done, of its plan: signatures of operators and of boxings, and
// the ways in which inputs are read otherwise than they lie.
void AddExecuted(const RankRunner& runner, std::set<std::string>* executed) {
  const int32_t ranks = runner.plan().cluster().ranks();
  const std::vector<runtime::ActorProfile> profile = runner.executor().rank(ranks - 1).Profile();
  std::vector<v1::Plan> programs = {runner.plan()};
  for (int p = 0; p < runner.plan().programs_size(); ++p) {
    programs.push_back(plan::PlanOfProgram(runner.plan(), p));
  }
  size_t next = 0;
  for (const v1::Plan& plan : programs) {
    for (const v1::Actor& actor : plan.actors()) {
      if (profile.at(next++).fired == 0) continue;
      executed->insert(Key(actor.kind(), actor.signature()));
      for (int input = 0; input < actor.input_layouts_size(); ++input) {
        if (actor.inputs(input) < 0) continue;
        const v1::Layout& lies = plan.registers(actor.inputs(input)).layout();
        const v1::Layout& read = actor.input_layouts(input);
        if (lies.kind() == read.kind()) continue;
        const bool split = read.kind() == v1::Layout::SPLIT;
        executed->insert(!split             ? "an absent addend"
                         : read.axis() == 0 ? "a view of rows"
                                            : "a view of columns");
      }
    }
  }
}

// One operator that declares a signature, and where.
struct Declared {
  std::string directory;
  LayoutPins::OperatorPin pin;
  std::string whole;  // the operator's signature without any split
};

std::map<std::string, std::vector<Declared>> DeclaredSignatures() {
  std::map<std::string, std::vector<Declared>> declared;
  for (const std::string& name : GoldenCases()) {
    const GoldenCase golden(name);
    const loader::Checkpoint checkpoint = loader::InspectCheckpoint(golden.directory()).value();
    const auto f32 = [](const loader::WeightId&) { return v1::F32; };
    const graph::Graph fused = graph::BuildMemoryTransformer(checkpoint.model, f32);
    for (const graph::Graph& g : graph::Forms(fused)) {
      for (const graph::Operator& op : g.operators) {
        for (const graph::Signature& s : graph::Signatures(g, op)) {
          const std::string text = graph::SignatureName(graph::Present(op, s));
          const std::string whole =
              graph::SignatureName(graph::Present(op, graph::Signatures(g, op)[0]));
          declared[Key(op.kind, text)].push_back({golden.directory(), {op.name, text}, whole});
        }
      }
    }
  }
  return declared;
}

// Decode steps, for which plans are pinned, have no rows to divide: larger ones divide those of
// what is whole in a decode step.
bool SplitsRows(const std::string& key) {
  const size_t inputs = key.find('(') + 1;
  return key.find("S(0)", key.find("->")) != std::string::npos ||
         (key.find("-> ()") != std::string::npos && key.compare(inputs, 4, "S(0)") == 0);
}

// Runs one of the operators pinned to its signature, if a plan can have it so.
void RunPinned(const std::string& key, const std::vector<Declared>& operators,
               std::set<std::string>* executed) {
  std::set<std::pair<std::string, std::string>> tried;
  for (const Declared& d : operators) {
    // Blocks and layers are alike but for the first one's input.
    const std::string alike = d.pin.name.substr(d.pin.name.rfind('.') + 1);
    if (!tried.insert({d.directory, alike}).second) continue;
    const bool rows = SplitsRows(d.pin.signature);
    LayoutPins pins;
    pins.large_steps = rows ? LayoutPins::LargeSteps::kRows : LayoutPins::LargeSteps::kSame;
    pins.operators = {{d.pin.name, rows ? d.whole : d.pin.signature}};
    auto runner = RankRunner::Create(Options(d.directory, 2, pins));
    if (!runner.ok()) {
      EXPECT_EQ(runner.status().code(), absl::StatusCode::kInvalidArgument) << runner.status();
      continue;
    }
    const GoldenCase golden(d.directory.substr(d.directory.rfind('/') + 1));
    const std::vector<float> expected = golden.Floats("logits");
    EXPECT_LE(LargestDifference(expected, (*runner)->Run(WholeInput(golden))),
              kTolerance * StandardDeviation(expected))
        << d.pin.name << "=" << d.pin.signature << " of " << d.directory;
    std::set<std::string> now;
    AddExecuted(**runner, &now);
    executed->insert(now.begin(), now.end());
    if (now.count(key) > 0) return;
  }
}

// Rotated whole, after its parts were put together: attention must not read the parts of before.
TEST(InPlaceTest, WhatAnOperatorChangedIsReadByAllThatFollow) {
  const GoldenCase golden("ultramem_v2");
  const std::vector<float> expected = golden.Floats("logits");
  LayoutPins pins;
  pins.operators = {{"block.*.query.norm", "(S(1), B) -> S(1)"},
                    {"block.*.query.rope", "(B, B, B) -> B"},
                    {"block.*.attention", "(S(1)) -> S(1)"}};
  auto runner = RankRunner::Create(Options(golden.directory(), 2, pins));
  ASSERT_TRUE(runner.ok()) << runner.status();
  const auto logits = (*runner)->Run(WholeInput(golden));
  EXPECT_LE(LargestDifference(expected, logits) / StandardDeviation(expected), kTolerance);
}

TEST(SignatureCoverageTest, EverySignatureAndBoxingRuns) {
  std::set<std::string> executed;
  for (const std::string& name : GoldenCases()) {
    const GoldenCase golden(name);
    for (const LayoutPins& pins : AllPins(golden, 2)) {
      for (LayoutPins::LargeSteps large :
           {LayoutPins::LargeSteps::kSame, LayoutPins::LargeSteps::kRows}) {
        auto runner = RankRunner::Create(Options(golden.directory(), 2, With(large, pins)));
        ASSERT_TRUE(runner.ok()) << runner.status();
        (*runner)->Run(WholeInput(golden));
        AddExecuted(**runner, &executed);
      }
    }
  }
  const auto declared = DeclaredSignatures();
  EXPECT_GT(declared.size(), 50u);
  for (const auto& [key, operators] : declared) {
    if (executed.count(key) == 0) RunPinned(key, operators, &executed);
    EXPECT_EQ(executed.count(key), 1u) << key << " has run in no golden case";
  }
  for (const char* boxing :
       {"ALL_REDUCE (P) -> B", "ALL_GATHER (S(1)) -> B", "REDUCE_SCATTER (P) -> S(1)",
        "ALL_GATHER (S(0)) -> B", "REDUCE_SCATTER (P) -> S(0)", "a view of rows",
        "PRODUCT_KEY_MERGE (S(1), S(1), B, B) -> B, B", "PRODUCT_KEY_MERGE (S(1), S(1)) -> B, B",
        "a view of columns", "an absent addend"}) {
    EXPECT_EQ(executed.count(boxing), 1u) << boxing << " has run in no golden case";
  }
}

}  // namespace
}  // namespace mneme::testing
