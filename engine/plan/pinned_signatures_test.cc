#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/signatures.h"
#include "engine/graph/test_models.h"
#include "engine/plan/compile.h"
#include "engine/plan/runnable_signatures.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using Tables = LayoutPins::Tables;

Graph MemoryGraph() {
  return graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
}

CompileOptions Options(int32_t ranks, const LayoutPins& pins) {
  CompileOptions options;
  options.pins = pins;
  options.cluster.set_ranks(ranks);
  options.limits.set_max_tokens(32);
  options.limits.set_max_sequences(4);
  options.limits.set_max_logit_rows(4);
  options.limits.set_max_positions(128);
  options.limits.set_kv_blocks(20);
  options.limits.set_kv_block_tokens(16);
  return options;
}

std::string SignatureOf(const v1::Plan& plan, const std::string& actor) {
  for (const v1::Actor& a : plan.actors()) {
    if (a.name() == actor) return a.signature();
  }
  return "";
}

const v1::Weight& WeightOf(const v1::Plan& plan, const std::string& name) {
  for (const v1::Weight& w : plan.weights()) {
    if (w.name() == name) return w;
  }
  ADD_FAILURE() << name;
  return plan.weights(0);
}

TEST(PinnedSignaturesTest, SplitLeavesNoWeightWholeThatCanBeSplit) {
  LayoutPins pins;
  pins.weights = LayoutPins::Weights::kSplit;
  CompileOptions options = Options(2, pins);
  options.cost.exchange_seconds = 1;  // dearer than anything that a split saves
  const v1::Plan plan = Compile(MemoryGraph(), options).value();
  int split = 0;
  for (const v1::Actor& actor : plan.actors()) {
    const bool splits = actor.kind() == v1::EMBEDDING || actor.kind() == v1::LINEAR ||
                        actor.kind() == v1::PRODUCT_KEY_CANDIDATES ||
                        actor.kind() == v1::VALUE_GATHER || actor.kind() == v1::VALUE_PREFETCH;
    if (!splits) continue;
    EXPECT_EQ(plan.weights(actor.weights(0)).layout().kind(), v1::Layout::SPLIT) << actor.name();
    ++split;
  }
  EXPECT_GT(split, 20);
  // The head is the embedding: it lies in the same way.
  const v1::Layout& embedding = WeightOf(plan, "embedding").layout();
  EXPECT_EQ(WeightOf(plan, "head").layout().SerializeAsString(), embedding.SerializeAsString());
  // Without the pin nothing is split at that price.
  options.pins = {};
  const v1::Plan free = Compile(MemoryGraph(), options).value();
  for (const v1::Weight& w : free.weights()) EXPECT_EQ(w.layout().kind(), v1::Layout::BROADCAST);
}

TEST(PinnedSignaturesTest, TablesLieAsAsked) {
  const std::pair<Tables, const char*> gathers[] = {
      {Tables::kRows, "(B, B, B, B, S(0)) -> P"},
      {Tables::kColumns, "(B, B, B, B, S(1)) -> S(1)"},
      {Tables::kSelections, "(S(1), S(1), S(1), B, B) -> P"}};
  for (const auto& [tables, gather] : gathers) {
    LayoutPins pins;
    pins.tables = tables;
    for (int32_t ranks : {2, 3}) {
      const v1::Plan plan = Compile(MemoryGraph(), Options(ranks, pins)).value();
      EXPECT_EQ(SignatureOf(plan, "memory.0.gather"), gather);
      EXPECT_EQ(SignatureOf(plan, "memory.1.gather"), gather);
      EXPECT_EQ(SignatureOf(plan, "memory.1.pre_score"),
                tables == Tables::kColumns ? "(B, B, S(1)) -> P" : "");
      EXPECT_EQ(SignatureOf(plan, "memory.1.prefetch"), tables == Tables::kRows ? "(B, S(0)) -> ()"
                                                        : tables == Tables::kColumns
                                                            ? "(B, S(1)) -> ()"
                                                            : "(S(1), B) -> ()");
    }
  }
}

// Free plans know both forms of the graph.
TEST(PinnedSignaturesTest, OneRankKeepsTheFusedGather) {
  const v1::Plan plan = Compile(MemoryGraph(), Options(1, {})).value();
  EXPECT_EQ(SignatureOf(plan, "memory.0.pre_score"), "");
  EXPECT_EQ(SignatureOf(plan, "memory.0.gather"), "(B, B, B, B, B) -> B");
}

TEST(PinnedSignaturesTest, AnOperatorIsPinnedByNameBeforeAllElse) {
  LayoutPins pins;
  pins.weights = LayoutPins::Weights::kSplit;
  pins.operators = {{"block.*.ffn.up", "(B,S(0)) -> S(1)"}, {"block.1.ffn.up", "(B, B) -> B"}};
  const v1::Plan plan = Compile(MemoryGraph(), Options(2, pins)).value();
  EXPECT_EQ(SignatureOf(plan, "block.0.ffn.up"), "(B, S(0)) -> S(1)");
  EXPECT_EQ(SignatureOf(plan, "block.1.ffn.up"), "(B, B) -> B");
}

std::string Refusal(int32_t ranks, const LayoutPins& pins, const Graph& graph = MemoryGraph()) {
  const absl::Status status = Compile(graph, Options(ranks, pins)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(PinnedSignaturesTest, WhatCannotBeIsRefusedByNameWithWhatCan) {
  LayoutPins pins;
  pins.operators = {{"block.0.ffn.up", "(B, S(2)) -> S(1)"}};
  EXPECT_EQ(Refusal(2, pins),
            "operator block.0.ffn.up cannot have layout '(B, S(2)) -> S(1)' on 2 ranks; possible: "
            "(B, B) -> B, (B, S(0)) -> S(1), (S(1), S(1)) -> P, (P, B) -> P");
  pins.operators = {{"block.9.*", "(B, B) -> B"}};
  EXPECT_EQ(Refusal(2, pins),
            "layout '(B, B) -> B' is for an operator 'block.9.*', which the model does not have");
  pins = {};
  pins.tables = Tables::kRows;
  EXPECT_EQ(Refusal(1, pins),
            "operator memory.0.prefetch cannot have table layout rows on 1 rank; possible: "
            "(B, B) -> ()");
  EXPECT_EQ(Refusal(2, pins,
                    graph::BuildMemoryTransformer(graph::DenseTestModel(1), graph::Bf16Weights())),
            "table layout rows is for a model with value tables; dense has none");
  // 16 pre-values and 32 values are not columns of 20 ranks.
  pins.tables = Tables::kColumns;
  EXPECT_EQ(Refusal(20, pins),
            "operator memory.0.prefetch cannot have table layout columns on 20 ranks; possible: "
            "(B, B) -> (), (B, S(0)) -> ()");
}

Graph MoeGraph(int64_t experts, int64_t hidden) {
  loader::ModelDescription model = graph::MoeTestModel(2);
  model.moe->experts = experts;
  model.moe->hidden = hidden;
  return graph::BuildMemoryTransformer(model, graph::Bf16Weights());
}

TEST(PinnedSignaturesTest, ExpertsAreDividedAsAsked) {
  using Experts = LayoutPins::Experts;
  const std::pair<Experts, std::string> layouts[] = {
      {Experts::kWhole, "(B, B, B, S(0), S(0), S(0)) -> P"},
      {Experts::kWidth, "(B, B, B, S(1), S(1), S(2)) -> P"}};
  for (const auto& [experts, signature] : layouts) {
    LayoutPins pins;
    pins.experts = experts;
    const v1::Plan plan = Compile(MoeGraph(8, 96), Options(2, pins)).value();
    EXPECT_EQ(SignatureOf(plan, "block.0.experts"), signature);
    EXPECT_EQ(SignatureOf(plan, "block.1.experts"), signature);
  }
  // Units that the cost model would not split.
  LayoutPins width;
  width.experts = Experts::kWidth;
  EXPECT_EQ(SignatureOf(Compile(MoeGraph(8, 6), Options(4, width)).value(), "block.1.experts"),
            layouts[1].second);
  // By the signature that the plan then prints, too.
  LayoutPins printed;
  printed.operators = {{"block.*.experts", layouts[1].second}};
  EXPECT_EQ(SignatureOf(Compile(MoeGraph(8, 6), Options(4, printed)).value(), "block.1.experts"),
            layouts[1].second);
}

TEST(PinnedSignaturesTest, ExpertsThatCannotBeDividedSoAreRefused) {
  LayoutPins pins;
  pins.experts = LayoutPins::Experts::kWhole;
  EXPECT_EQ(Refusal(4, pins, MoeGraph(3, 96)),
            "operator block.0.experts cannot have expert layout experts on 4 ranks; possible: "
            "(B, B, B, B, B, B) -> B, (B, B, B, S(1), S(1), S(2)) -> P");
  EXPECT_EQ(Refusal(2, pins),
            "expert layout experts is for a model with experts; ultramem_v2 has none");
  pins.experts = LayoutPins::Experts::kWidth;
  EXPECT_EQ(Refusal(4, pins, MoeGraph(8, 3)),
            "operator block.0.experts cannot have expert layout width on 4 ranks; possible: "
            "(B, B, B, B, B, B) -> B, (B, B, B, S(0), S(0), S(0)) -> P");
}

TEST(PinnedSignaturesTest, PinsThatDoNotGoTogetherAreRefused) {
  LayoutPins pins;
  pins.operators = {{"embedding", "(S(1)) -> S(1)"}, {"logits", "(B, S(0)) -> S(1)"}};
  EXPECT_EQ(Refusal(2, pins),
            "the layouts asked for (embedding=(S(1)) -> S(1), logits=(B, S(0)) -> S(1)) do not go "
            "together on 2 ranks: one weight has one layout for all its readers, and some tensor "
            "would have to be read as it cannot lie");
}

}  // namespace
}  // namespace mneme::plan
