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
#include "engine/graph/memory_transformer.h"
#include "engine/graph/pre_scores.h"
#include "engine/graph/signatures.h"
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

INSTANTIATE_TEST_SUITE_P(Cases, LayoutTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

// A signature of one kind of operator: "LINEAR (B, S(0)) -> S(1)".
std::string Key(v1::OperatorKind kind, const std::string& signature) {
  return absl::StrCat(v1::OperatorKind_Name(kind), " ", signature);
}

// What the ranks of a runner have done, of its plan: signatures of operators and of boxings, and
// the ways in which inputs are read otherwise than they lie.
void AddExecuted(const RankRunner& runner, std::set<std::string>* executed) {
  const v1::Plan& plan = runner.plan();
  const std::vector<runtime::ActorProfile> profile =
      runner.executor().rank(plan.cluster().ranks() - 1).Profile();
  for (int i = 0; i < plan.actors_size(); ++i) {
    const v1::Actor& actor = plan.actors(i);
    if (profile[i].fired == 0) continue;
    executed->insert(Key(actor.kind(), actor.signature()));
    for (int input = 0; input < actor.input_layouts_size(); ++input) {
      if (actor.inputs(input) < 0) continue;
      const v1::Layout& lies = plan.registers(actor.inputs(input)).layout();
      const v1::Layout& read = actor.input_layouts(input);
      if (lies.kind() == read.kind()) continue;
      executed->insert(read.kind() == v1::Layout::SPLIT ? "a view of columns" : "an absent addend");
    }
  }
}

// One operator that declares a signature, and where.
struct Declared {
  std::string directory;
  LayoutPins::OperatorPin pin;
};

std::map<std::string, std::vector<Declared>> DeclaredSignatures() {
  std::map<std::string, std::vector<Declared>> declared;
  for (const std::string& name : GoldenCases()) {
    const GoldenCase golden(name);
    const loader::Checkpoint checkpoint = loader::InspectCheckpoint(golden.directory()).value();
    const auto f32 = [](const loader::WeightId&) { return v1::F32; };
    const graph::Graph fused = graph::BuildMemoryTransformer(checkpoint.model, f32);
    std::vector<graph::Graph> graphs = {fused};
    if (graph::HasFusedPreScores(fused)) graphs.push_back(graph::WithPreScores(fused));
    for (const graph::Graph& g : graphs) {
      for (const graph::Operator& op : g.operators) {
        for (const graph::Signature& s : graph::Signatures(g, op)) {
          const std::string text = graph::SignatureName(graph::Present(op, s));
          declared[Key(op.kind, text)].push_back({golden.directory(), {op.name, text}});
        }
      }
    }
  }
  return declared;
}

// The only signatures that cannot run: a step's rows are too few at decode to be divided, and no
// boxing divides them.
bool SplitsRows(const std::string& key) {
  return key.find("S(0)", key.find("->")) != std::string::npos;
}

// Runs one of the operators pinned to its signature, if a plan can have it so.
void RunPinned(const std::vector<Declared>& operators, std::set<std::string>* executed) {
  std::set<std::pair<std::string, std::string>> tried;
  for (const Declared& d : operators) {
    // Blocks and layers are alike but for the first one's input.
    const std::string alike = d.pin.name.substr(d.pin.name.rfind('.') + 1);
    if (!tried.insert({d.directory, alike}).second) continue;
    LayoutPins pins;
    pins.operators = {d.pin};
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
    AddExecuted(**runner, executed);
    return;
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
      auto runner = RankRunner::Create(Options(golden.directory(), 2, pins));
      ASSERT_TRUE(runner.ok()) << runner.status();
      (*runner)->Run(WholeInput(golden));
      AddExecuted(**runner, &executed);
    }
  }
  const auto declared = DeclaredSignatures();
  EXPECT_GT(declared.size(), 50u);
  for (const auto& [key, operators] : declared) {
    if (executed.count(key) == 0) RunPinned(operators, &executed);
    const bool runs = executed.count(key) > 0;
    EXPECT_EQ(runs, !SplitsRows(key))
        << key << (runs ? " runs: it needs no excuse" : " has run in no golden case");
  }
  for (const char* boxing :
       {"ALL_REDUCE (P) -> B", "ALL_GATHER (S(1)) -> B", "REDUCE_SCATTER (P) -> S(1)",
        "PRODUCT_KEY_MERGE (S(1), S(1), B, B) -> B, B", "PRODUCT_KEY_MERGE (S(1), S(1)) -> B, B",
        "a view of columns", "an absent addend"}) {
    EXPECT_EQ(executed.count(boxing), 1u) << boxing << " has run in no golden case";
  }
}

}  // namespace
}  // namespace mneme::testing
