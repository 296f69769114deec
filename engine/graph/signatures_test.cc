#include "engine/graph/signatures.h"

#include <set>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/pre_scores.h"
#include "engine/graph/square_sums.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

std::set<std::string> Names(const Graph& graph, const std::string& op_name) {
  for (const Operator& op : graph.operators) {
    if (op.name != op_name) continue;
    std::set<std::string> names;
    for (const Signature& s : Signatures(graph, op)) names.insert(SignatureName(s));
    return names;
  }
  ADD_FAILURE() << "no operator " << op_name;
  return {};
}

// Every operator kind of the design's table, all its signatures.
TEST(SignaturesTest, MatchTheDesignTable) {
  loader::ModelDescription model = MemoryTestModel(1);
  model.attention.clip_qkv = 2.0f;
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  using Set = std::set<std::string>;
  const std::pair<const char*, Set> table[] = {
      {"embedding", {"(B) -> B", "(B) -> S(0)", "(S(0)) -> P", "(S(1)) -> S(1)"}},
      {"block.0.attention_norm", {"(B, B, B, B) -> B", "(S(0), B, B, B) -> S(0)"}},
      {"block.0.query.clamp", {"(B) -> B", "(S(0)) -> S(0)", "(S(1)) -> S(1)"}},
      {"block.0.query.norm",
       {"(B, B, B, B) -> B", "(S(0), B, B, B) -> S(0)", "(S(1), B, B, B) -> S(1)"}},
      {"block.0.query.rope", {"(B, B, B) -> B", "(S(0), B, B) -> S(0)", "(S(1), B, B) -> S(1)"}},
      {"block.0.kv_append", {"(B, B) -> ()", "(S(1), S(1)) -> ()"}},
      {"block.0.attention", {"(B) -> B", "(S(1)) -> S(1)"}},
      {"block.0.ffn.up",
       {"(B, B, B) -> B", "(S(0), B, B) -> S(0)", "(B, S(0), B) -> S(1)", "(S(1), S(1), B) -> P",
        "(P, B, B) -> P"}},
      {"block.0.ffn.activation", {"(B, B) -> B", "(S(0), S(0)) -> S(0)", "(S(1), S(1)) -> S(1)"}},
      {"block.0.ffn_residual",
       {"(B, B) -> B", "(S(0), S(0)) -> S(0)", "(S(1), S(1)) -> S(1)", "(P, P) -> P"}},
      {"memory.0.candidates",
       {"(B, B, B, B, B, B, B, B) -> B, B", "(S(0), B, B, B, B, B, B, B) -> S(0), S(0)",
        "(B, S(0), S(0), B, B, B, B, B) -> S(1), S(1)"}},
      {"memory.0.select",
       {"(B, B, B, B) -> B, B, B, B, B", "(S(0), S(0), B, B) -> S(0), S(0), S(0), S(0), B"}},
      {"memory.0.prefetch",
       {"(B, B) -> ()", "(B, S(0)) -> ()", "(B, S(1)) -> ()", "(S(0), B) -> ()",
        "(S(1), B) -> ()"}},
      {"memory.0.gather",
       {"(B, B, B, B, B, B) -> B", "(B, B, B, B, B, S(0)) -> P",
        "(S(0), S(0), S(0), S(0), B, B) -> S(0)", "(S(1), S(1), S(1), B, B, B) -> P"}},
      {"logit_rows", {"(B) -> B", "(S(1)) -> S(1)", "(P) -> P"}},
  };
  std::set<v1::OperatorKind> checked;
  for (const auto& [name, signatures] : table) {
    EXPECT_EQ(Names(graph, name), signatures) << name;
    for (const Operator& op : graph.operators) {
      if (op.name == name) checked.insert(op.kind);
    }
  }
  for (const Operator& op : graph.operators) EXPECT_EQ(checked.count(op.kind), 1u) << op.name;
}

TEST(SignaturesTest, ExpertsAreSplitByExpertOrInsideEach) {
  const Graph graph = BuildMemoryTransformer(MoeTestModel(1), Bf16Weights());
  EXPECT_EQ(Names(graph, "block.0.router"),
            (std::set<std::string>{"(B) -> B, B", "(S(0)) -> S(0), S(0)"}));
  EXPECT_EQ(Names(graph, "block.0.experts"),
            (std::set<std::string>{"(B, B, B, B, B, B) -> B", "(S(0), S(0), S(0), B, B, B) -> S(0)",
                                   "(B, B, B, S(0), S(0), S(0)) -> P",
                                   "(B, B, B, S(1), S(1), S(2)) -> P"}));
}

TEST(SignaturesTest, ANormOverHeadsNeedsAllOfThemOrTheSumsOfTheirSquares) {
  using Set = std::set<std::string>;
  const Graph fused = BuildMemoryTransformer(MoeTestModel(1), Bf16Weights());
  EXPECT_EQ(Names(fused, "block.0.query.norm"),
            (Set{"(B, B, B, B) -> B", "(S(0), B, B, B) -> S(0)"}));
  const Graph summed = WithSquareSums(fused);
  EXPECT_EQ(Names(summed, "block.0.square_sum"),
            (Set{"(B, B) -> B", "(S(0), S(0)) -> S(0)", "(S(1), S(1)) -> P"}));
  EXPECT_EQ(Names(summed, "block.0.key.norm"),
            (Set{"(B, B, B, B) -> B", "(S(0), S(0), B, B) -> S(0)", "(S(1), B, S(1), B) -> S(1)"}));
}

TEST(SignaturesTest, ASharedExpertsGateTakesPartialSums) {
  loader::ModelDescription model = MoeTestModel(1);
  model.moe->shared_hidden = 48;
  EXPECT_EQ(Names(BuildMemoryTransformer(model, Bf16Weights()), "block.0.shared"),
            (std::set<std::string>{"(B, B) -> B", "(S(0), S(0)) -> S(0)", "(S(1), B) -> S(1)",
                                   "(P, B) -> P"}));
}

TEST(SignaturesTest, ABiasIsWholeWhereTheOutputIsPartial) {
  loader::ModelDescription model = DenseTestModel(1);
  model.ffn.bias = true;
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(
      Names(graph, "block.0.ffn.down"),
      (std::set<std::string>{"(B, B, B) -> B", "(S(0), B, B) -> S(0)", "(B, S(0), S(1)) -> S(1)",
                             "(S(1), S(1), B) -> P", "(P, B, B) -> P"}));
}

TEST(SignaturesTest, OnlyANormPerHeadSplitsItsColumns) {
  const Graph graph = BuildMemoryTransformer(DenseTestModel(1), Bf16Weights());
  EXPECT_EQ(Names(graph, "block.0.ffn_norm").count("(S(1), B, B, B) -> S(1)"), 0u);
  EXPECT_EQ(Names(graph, "block.0.query.norm").count("(S(1), B, B, B) -> S(1)"), 1u);
}

TEST(SignaturesTest, ColumnsOfATableWithPreValuesAreSplitOnlyBehindTheirScores) {
  loader::ModelDescription model = MemoryTestModel(1);
  using Set = std::set<std::string>;
  const std::string split = "(B, B, B, B, B, S(1)) -> S(1)";
  const Graph fused = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(Names(fused, "memory.0.gather").count(split), 0u);
  const Graph scored = WithPreScores(fused);
  EXPECT_EQ(Names(scored, "memory.0.gather"),
            (Set{"(B, B, B, B, B, B) -> B", "(S(0), S(0), S(0), B, S(0), B) -> S(0)", split}));
  EXPECT_EQ(Names(scored, "memory.0.pre_score"),
            (Set{"(B, B, B) -> B", "(S(0), S(0), B) -> S(0)", "(B, B, S(1)) -> P"}));
  model.memory->pre_value_dim = 0;
  model.memory->expand_groups = 4;
  EXPECT_EQ(Names(BuildMemoryTransformer(model, Bf16Weights()), "memory.0.gather"),
            (Set{"(B, B, B, B, B, B) -> B", "(B, B, B, B, B, S(0)) -> P", split,
                 "(S(0), S(0), S(0), B, B, B) -> S(0)", "(S(1), S(1), S(1), B, B, B) -> P"}));
}

void CheckOperands(const Graph& graph) {
  for (const Operator& op : graph.operators) {
    const std::vector<Signature> signatures = Signatures(graph, op);
    ASSERT_GE(signatures.size(), 2u) << op.name;
    for (const Signature& s : signatures) {
      EXPECT_EQ(s.inputs.size(), op.inputs.size()) << op.name << " " << SignatureName(s);
      EXPECT_EQ(s.weights.size(), op.weights.size()) << op.name << " " << SignatureName(s);
      EXPECT_EQ(s.outputs.size(), op.outputs.size()) << op.name << " " << SignatureName(s);
    }
    for (Sbp sbp : signatures[0].inputs) EXPECT_EQ(sbp, Sbp::B()) << op.name;
    for (Sbp sbp : signatures[0].weights) EXPECT_EQ(sbp, Sbp::B()) << op.name;
    for (Sbp sbp : signatures[0].outputs) EXPECT_EQ(sbp, Sbp::B()) << op.name;
  }
}

TEST(SignaturesTest, EveryOperatorDeclaresBroadcastFirstAndCountsItsOperands) {
  const Graph scored = WithPreScores(BuildMemoryTransformer(MemoryTestModel(2), Bf16Weights()));
  const Graph summed = WithSquareSums(BuildMemoryTransformer(MoeTestModel(2), Bf16Weights()));
  for (const Graph* graph : {&scored, &summed}) CheckOperands(*graph);
}

}  // namespace
}  // namespace mneme::graph
