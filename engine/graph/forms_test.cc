#include "engine/graph/forms.h"

#include <set>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::graph {
namespace {

std::set<v1::OperatorKind> Kinds(const Graph& graph) {
  std::set<v1::OperatorKind> kinds;
  for (const Operator& op : graph.operators) kinds.insert(op.kind);
  return kinds;
}

TEST(FormsTest, AreAllCombinationsOfWhatIsFused) {
  loader::ModelDescription model = MemoryTestModel(1);
  model.attention.qk_norm_whole = true;
  const std::vector<Graph> forms = Forms(BuildMemoryTransformer(model, Bf16Weights()));
  ASSERT_EQ(forms.size(), 4u);
  for (size_t i = 0; i < forms.size(); ++i) {
    EXPECT_EQ(Validate(forms[i]), "");
    EXPECT_EQ(Kinds(forms[i]).count(v1::PRE_SCORE), i % 2);
    EXPECT_EQ(Kinds(forms[i]).count(v1::SQUARE_SUM), i / 2);
  }
}

TEST(FormsTest, AModelThatFusesNothingHasOne) {
  EXPECT_EQ(Forms(BuildMemoryTransformer(DenseTestModel(1), Bf16Weights())).size(), 1u);
  EXPECT_EQ(Forms(BuildMemoryTransformer(MoeTestModel(1), Bf16Weights())).size(), 2u);
  EXPECT_EQ(Forms(BuildMemoryTransformer(MemoryTestModel(1), Bf16Weights())).size(), 2u);
}

}  // namespace
}  // namespace mneme::graph
