#include "engine/graph/pre_scores.h"

#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

TEST(PreScoresTest, AreAnOperatorBeforeTheirGather) {
  const Graph fused = BuildMemoryTransformer(MemoryTestModel(2), Bf16Weights());
  ASSERT_TRUE(HasFusedPreScores(fused));
  const Graph split = WithPreScores(fused);
  EXPECT_EQ(Validate(split), "");
  EXPECT_FALSE(HasFusedPreScores(split));
  ASSERT_EQ(split.operators.size(), fused.operators.size() + 2);
  int seen = 0;
  for (size_t i = 0; i < split.operators.size(); ++i) {
    if (split.operators[i].kind != v1::PRE_SCORE) continue;
    const Operator& gather = split.operators[i + 1];
    EXPECT_EQ(split.operators[i].name, "memory." + std::to_string(seen) + ".pre_score");
    EXPECT_EQ(gather.kind, v1::VALUE_GATHER);
    EXPECT_EQ(gather.inputs[3], -1);
    EXPECT_EQ(gather.inputs[4], split.operators[i].outputs[0]);
    EXPECT_EQ(split.operators[i].weights, gather.weights);
    ++seen;
  }
  EXPECT_EQ(seen, 2);
}

TEST(PreScoresTest, AModelWithoutPreValuesStaysAsItIs) {
  loader::ModelDescription model = MemoryTestModel(1);
  model.memory->pre_value_dim = 0;
  const Graph graph = BuildMemoryTransformer(model, Bf16Weights());
  EXPECT_FALSE(HasFusedPreScores(graph));
  EXPECT_EQ(WithPreScores(graph).operators.size(), graph.operators.size());
}

}  // namespace
}  // namespace mneme::graph
