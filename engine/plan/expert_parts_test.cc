#include "engine/plan/expert_parts.h"

#include "engine/graph/memory_transformer.h"
#include "engine/graph/signatures.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using graph::Sbp;

class ExpertPartsTest : public ::testing::Test {
 protected:
  // As the test model has them: 8 experts of 96 hidden units, 2 chosen, width 64, bf16.
  explicit ExpertPartsTest(int64_t experts = 8, int64_t hidden = 96) {
    loader::ModelDescription model = graph::MoeTestModel(1);
    model.moe->experts = experts;
    model.moe->hidden = hidden;
    graph_ = graph::BuildMemoryTransformer(model, graph::Bf16Weights());
    for (const graph::Operator& op : graph_.operators) {
      if (op.kind == v1::EXPERTS) op_ = op;
    }
    for (const graph::Signature& s : graph::Signatures(graph_, op_)) {
      if (s.weights[0] == Sbp::S(0)) by_expert_ = s;
      if (s.weights[0] == Sbp::S(1)) by_width_ = s;
      if (s.outputs[0] == Sbp::B()) whole_ = s;
    }
  }

  Parts Of(const graph::Signature& s, int32_t ranks) const {
    return PartsOfExperts(graph_, op_, s, ranks);
  }

  graph::Graph graph_;
  graph::Operator op_;
  graph::Signature whole_, by_expert_, by_width_;
};

class WideExpertPartsTest : public ExpertPartsTest {
 protected:
  WideExpertPartsTest() : ExpertPartsTest(3, 300) {}
};

TEST_F(ExpertPartsTest, WholeExpertsOrHiddenUnitsOfEach) {
  EXPECT_TRUE(Of(whole_, 2).empty());
  EXPECT_EQ(Of(by_expert_, 3), (Parts{{0, 3}, {3, 6}, {6, 8}}));
  EXPECT_EQ(Of(by_expert_, 8).size(), 8u);
  EXPECT_TRUE(Of(by_expert_, 9).empty());
  // Cache lines of the rows of down, then vectors.
  EXPECT_EQ(Of(by_width_, 2), (Parts{{0, 64}, {64, 96}}));
  EXPECT_EQ(Of(by_width_, 4), (Parts{{0, 32}, {32, 64}, {64, 80}, {80, 96}}));
  EXPECT_FALSE(SplitsNarrowExperts(graph_, op_, by_width_, 4));
}

// Fewer than a vector for each rank: as evenly as single units go.
TEST_F(ExpertPartsTest, NarrowExpertsAreSplitOnlyIfNeedBe) {
  EXPECT_TRUE(SplitsNarrowExperts(graph_, op_, by_width_, 7));
  EXPECT_FALSE(SplitsNarrowExperts(graph_, op_, by_expert_, 7));
  const Parts parts = Of(by_width_, 7);
  ASSERT_EQ(parts.size(), 7u);
  EXPECT_EQ(parts.front(), (Part{0, 14}));
  EXPECT_EQ(parts.back().end, 96);
  EXPECT_TRUE(Of(by_width_, 97).empty());
}

TEST_F(WideExpertPartsTest, MoreRanksThanExpertsSplitTheWidth) {
  EXPECT_TRUE(Of(by_expert_, 4).empty());
  EXPECT_EQ(Of(by_width_, 4), (Parts{{0, 128}, {128, 192}, {192, 256}, {256, 300}}));
}

}  // namespace
}  // namespace mneme::plan
