#include "engine/graph/signatures.h"

#include <set>
#include <string>

#include "engine/graph/memory_transformer.h"
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

TEST(SignaturesTest, MatchTheDesignTable) {
  const Graph graph = BuildMemoryTransformer(MemoryTestModel(1), Bf16Weights());
  using Set = std::set<std::string>;
  EXPECT_EQ(Names(graph, "block.0.ffn.up"),
            (Set{"(B, B, B) -> B", "(S(0), B, B) -> S(0)", "(B, S(0), B) -> S(1)",
                 "(S(1), S(1), B) -> P", "(P, B, B) -> P"}));
  EXPECT_EQ(Names(graph, "embedding"), (Set{"(B) -> B", "(S(0)) -> P", "(S(1)) -> S(1)"}));
  EXPECT_EQ(Names(graph, "block.0.ffn_residual"),
            (Set{"(B, B) -> B", "(S(0), S(0)) -> S(0)", "(S(1), S(1)) -> S(1)", "(P, P) -> P"}));
  EXPECT_EQ(Names(graph, "block.0.attention"), (Set{"(B) -> B", "(S(1)) -> S(1)"}));
}

TEST(SignaturesTest, ABiasForbidsPartialSums) {
  loader::ModelDescription model = DenseTestModel(1);
  model.ffn.bias = true;
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_EQ(
      Names(graph, "block.0.ffn.down"),
      (std::set<std::string>{"(B, B, B) -> B", "(S(0), B, B) -> S(0)", "(B, S(0), S(1)) -> S(1)"}));
}

TEST(SignaturesTest, OnlyANormPerHeadSplitsItsColumns) {
  const Graph graph = BuildMemoryTransformer(DenseTestModel(1), Bf16Weights());
  EXPECT_EQ(Names(graph, "block.0.ffn_norm").count("(S(1), B, B) -> S(1)"), 0u);
  EXPECT_EQ(Names(graph, "block.0.query.norm").count("(S(1), B, B) -> S(1)"), 1u);
}

TEST(SignaturesTest, ColumnsOfATableWithPreValuesAreNotSplitInTheFusedGather) {
  loader::ModelDescription model = MemoryTestModel(1);
  const std::string split = "(B, B, B, B, S(1)) -> S(1)";
  EXPECT_EQ(Names(BuildMemoryTransformer(model, Bf16Weights()), "memory.0.gather").count(split),
            0u);
  model.memory->pre_value_dim = 0;
  EXPECT_EQ(Names(BuildMemoryTransformer(model, Bf16Weights()), "memory.0.gather").count(split),
            1u);
}

TEST(SignaturesTest, EveryOperatorDeclaresBroadcastFirstAndCountsItsOperands) {
  const Graph graph = BuildMemoryTransformer(MemoryTestModel(2), Bf16Weights());
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

}  // namespace
}  // namespace mneme::graph
