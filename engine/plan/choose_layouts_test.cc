#include "engine/plan/choose_layouts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/pre_scores.h"
#include "engine/graph/signatures.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using Tables = LayoutPins::Tables;

Graph SmallGraph() {
  return graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
}

CompileOptions Options() {
  CompileOptions options;
  options.model_name = "m";
  options.cluster.set_device("cpu");
  options.limits.set_max_tokens(32);
  options.limits.set_max_sequences(4);
  options.limits.set_max_logit_rows(4);
  options.limits.set_max_positions(64);
  options.limits.set_kv_blocks(4);
  options.limits.set_kv_block_tokens(16);
  return options;
}

CostModel WithExchange(double seconds) {
  CostModel cost;
  cost.exchange_seconds = seconds;
  cost.exchange_seconds_per_rank = 0;
  return cost;
}

int32_t Ranks(const CompileOptions& options, int32_t most, const CostModel& cost) {
  return ChooseRanks(SmallGraph(), options, most, [&](int32_t) { return cost; }).value();
}

TEST(ChooseRanksTest, AsManyAsPay) {
  EXPECT_EQ(Ranks(Options(), 8, WithExchange(1)), 1);
  // Four heads, whose keys and values no more ranks than four can divide.
  EXPECT_EQ(Ranks(Options(), 1, WithExchange(0)), 1);
  EXPECT_EQ(Ranks(Options(), 2, WithExchange(0)), 2);
  EXPECT_EQ(Ranks(Options(), 3, WithExchange(0)), 3);
  EXPECT_GE(Ranks(Options(), 4, WithExchange(0)), 3);
}

int Count(const Graph& graph, v1::OperatorKind kind) {
  return static_cast<int>(
      std::count_if(graph.operators.begin(), graph.operators.end(),
                    [&](const graph::Operator& op) { return op.kind == kind; }));
}

// The sums of squares cost an exchange of their own: it must be worth it.
TEST(ChooseLayoutsTest, SumsOfSquaresAreAnOperatorWhereThatPays) {
  const Graph graph = graph::BuildMemoryTransformer(graph::MoeTestModel(2), graph::Bf16Weights());
  CompileOptions options = Options();
  options.cluster.set_ranks(2);
  for (const auto& [exchange, sums] : {std::pair{0.0, 2}, {1.0, 0}}) {
    options.cost = WithExchange(exchange);
    EXPECT_EQ(Count(ChooseLayouts(graph, options).value().graph, v1::SQUARE_SUM), sums);
  }
  options.cluster.set_ranks(1);
  EXPECT_EQ(Count(ChooseLayouts(graph, options).value().graph, v1::SQUARE_SUM), 0);
}

// What a form lacks is not what is wrong with a pin of another.
TEST(ChooseLayoutsTest, APinOfAnOperatorOfOneFormIsMeasuredByThatForm) {
  const Graph graph = graph::BuildMemoryTransformer(graph::MoeTestModel(2), graph::Bf16Weights());
  CompileOptions options = Options();
  options.cluster.set_ranks(2);
  options.cost = WithExchange(1);
  options.pins.operators = {{"block.1.square_sum", "(S(1),S(1)) -> P"}};
  EXPECT_EQ(Count(ChooseLayouts(graph, options).value().graph, v1::SQUARE_SUM), 2);
  options.pins.operators[0].signature = "(S(1), B) -> P";
  EXPECT_EQ(std::string(ChooseLayouts(graph, options).status().message()),
            "operator block.1.square_sum cannot have layout '(S(1), B) -> P' on 2 ranks; possible: "
            "(B, B) -> B, (S(1), S(1)) -> P");
  options.pins.operators[0].name = "block.2.square_sum";
  EXPECT_EQ(std::string(ChooseLayouts(graph, options).status().message()),
            "layout '(S(1), B) -> P' is for an operator 'block.2.square_sum', which the model does "
            "not have");
}

// One rank divides nothing, whatever exchanges cost; columns are divided only where pre-scores are
// operators.
TEST(ChooseRanksTest, WhatIsPinnedMustBePossible) {
  CompileOptions options = Options();
  CostModel cost;
  cost.exchange_seconds_per_rank = 1;
  for (Tables tables : {Tables::kRows, Tables::kColumns, Tables::kSelections}) {
    options.pins.tables = tables;
    EXPECT_EQ(Ranks(options, 8, cost), 2);
    const absl::Status alone =
        ChooseRanks(SmallGraph(), options, 1, [](int32_t) { return CostModel(); }).status();
    EXPECT_EQ(alone.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(alone.message()).find(" on 1 rank"), std::string::npos) << alone;
  }
  options.pins = {.operators = {{"no such operator", "B -> B"}}};
  EXPECT_EQ(
      ChooseRanks(SmallGraph(), options, 8, [](int32_t) { return CostModel(); }).status().code(),
      absl::StatusCode::kInvalidArgument);
}

// Where every operator is whole on every rank, more of them gain nothing.
TEST(ChooseRanksTest, PinsArePriced) {
  CompileOptions options = Options();
  EXPECT_EQ(Ranks(options, 4, WithExchange(0)), 4);
  const Graph graph = SmallGraph();
  for (const graph::Operator& op : graph.operators) {
    const graph::Signature whole = graph::Signatures(graph, op)[0];
    options.pins.operators.push_back({op.name, graph::SignatureName(graph::Present(op, whole))});
  }
  EXPECT_EQ(Ranks(options, 4, WithExchange(0)), 1);
}

TEST(ChooseRanksTest, MemoryIsThatOfSoManyRanks) {
  CompileOptions options = Options();
  const auto cost = [](int64_t bytes) {
    return [bytes](int32_t) {
      CostModel c = WithExchange(1);
      c.shared_memory = false;
      c.memory_bytes = bytes;
      return c;
    };
  };
  options.cluster.set_ranks(1);
  options.cost = WithExchange(1);
  const v1::Plan whole = *Compile(SmallGraph(), options);
  const v1::RankMemory& rank = whole.memory(0);
  const int64_t all = rank.weight_bytes() + rank.kv_bytes() + rank.arena_bytes();
  EXPECT_EQ(ChooseRanks(SmallGraph(), options, 8, cost(all)).value(), 1);
  EXPECT_GT(ChooseRanks(SmallGraph(), options, 8, cost(all * 3 / 4)).value(), 1);
  const absl::Status none = ChooseRanks(SmallGraph(), options, 2, cost(1000)).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(none.message()).find("on 2 ranks, there are 1000"), std::string::npos)
      << none;
}

// Both forms of the graph are looked at, as for the plan itself: columns are divided in one only.
TEST(ChooseRanksTest, ChoosesWhatIsFastestAsAPlan) {
  int scored = 0;
  for (const double exchange : {0.0, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5}) {
    for (const Tables tables : {Tables::kFree, Tables::kRows, Tables::kColumns}) {
      CompileOptions options = Options();
      options.cost = WithExchange(exchange);
      options.pins.tables = tables;
      int32_t best = 0;
      double least = 1e9;
      bool of_best = false;
      for (int32_t ranks : {1, 2, 4}) {
        options.cluster.set_ranks(ranks);
        const absl::StatusOr<LayoutChoice> chosen = ChooseLayouts(SmallGraph(), options);
        if (!chosen.ok() || chosen->choice.seconds >= least) continue;
        least = chosen->choice.seconds;
        best = ranks;
        of_best = !graph::HasFusedPreScores(chosen->graph);
      }
      EXPECT_EQ(Ranks(options, 4, options.cost), best)
          << exchange << " " << static_cast<int>(tables);
      scored += of_best;
    }
  }
  EXPECT_GT(scored, 0);
}

}  // namespace
}  // namespace mneme::plan
