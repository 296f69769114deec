#include "engine/graph/square_sums.h"

#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

const Operator& Named(const Graph& graph, const std::string& name) {
  for (const Operator& op : graph.operators) {
    if (op.name == name) return op;
  }
  ADD_FAILURE() << "no operator " << name;
  return graph.operators[0];
}

TEST(SquareSumsTest, OfQueriesAndKeysStandBeforeTheirNorms) {
  const Graph fused = BuildMemoryTransformer(MoeTestModel(2), Bf16Weights());
  ASSERT_TRUE(HasNormsOverHeads(fused));
  const Graph split = WithSquareSums(fused);
  EXPECT_EQ(Validate(split), "");
  EXPECT_FALSE(HasNormsOverHeads(split));
  ASSERT_EQ(split.operators.size(), fused.operators.size() + 2);
  for (const std::string block : {"block.0.", "block.1."}) {
    const Operator& sum = Named(split, block + "square_sum");
    const Operator& query = Named(split, block + "query.norm");
    const Operator& key = Named(split, block + "key.norm");
    EXPECT_EQ(sum.kind, v1::SQUARE_SUM);
    EXPECT_EQ(sum.inputs, (std::vector<int32_t>{query.inputs[0], key.inputs[0]}));
    EXPECT_EQ(split.tensors[sum.outputs[0]].cols, 2);
    EXPECT_EQ(query.inputs[1], sum.outputs[0]);
    EXPECT_EQ(key.inputs[1], sum.outputs[0]);
    EXPECT_EQ(query.attributes.norm().sum(), 0);
    EXPECT_EQ(key.attributes.norm().sum(), 1);
  }
  // Those of blocks span rows, of which no rank has a part.
  EXPECT_EQ(Named(split, "block.0.ffn_norm").inputs[1], -1);
}

// Where the keys come after the queries' norm, each has a sum of its own.
TEST(SquareSumsTest, AreNotOfWhatIsNotThereYet) {
  Graph graph = BuildMemoryTransformer(MoeTestModel(1), Bf16Weights());
  std::vector<Operator>& operators = graph.operators;
  const auto at = [&](const std::string& name) {
    for (size_t i = 0; i < operators.size(); ++i) {
      if (operators[i].name == name) return i;
    }
    return operators.size();
  };
  const Operator norm = operators[at("block.0.query.norm")];
  operators.erase(operators.begin() + static_cast<ptrdiff_t>(at("block.0.query.norm")));
  operators.insert(operators.begin() + static_cast<ptrdiff_t>(at("block.0.key")), norm);
  ASSERT_EQ(Validate(graph), "");
  const Graph split = WithSquareSums(graph);
  EXPECT_EQ(Validate(split), "");
  EXPECT_EQ(split.operators.size(), graph.operators.size() + 2);
  EXPECT_EQ(Named(split, "block.0.key.norm").attributes.norm().sum(), 0);
  EXPECT_NE(Named(split, "block.0.key.norm").inputs[1],
            Named(split, "block.0.query.norm").inputs[1]);
}

TEST(SquareSumsTest, NormsOfSingleHeadsStayAsTheyAre) {
  const Graph graph = BuildMemoryTransformer(DenseTestModel(1), Bf16Weights());
  EXPECT_FALSE(HasNormsOverHeads(graph));
  EXPECT_EQ(WithSquareSums(graph).operators.size(), graph.operators.size());
}

}  // namespace
}  // namespace mneme::graph
