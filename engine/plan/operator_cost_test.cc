#include "engine/plan/operator_cost.h"

#include <algorithm>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using graph::Graph;
using graph::Operator;
using graph::Sbp;

// One megabyte a second and no latency: seconds are bytes in millionths.
CostModel Slow() {
  CostModel cost;
  cost.bytes_per_second = 1e6;
  cost.row_seconds = 0;
  cost.arithmetic = {{1, 1e18, 1e18}};
  return cost;
}

class OperatorCostTest : public ::testing::Test {
 protected:
  OperatorCostTest()
      : graph_(graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights())) {}

  const Operator& Find(const std::string& name) const {
    for (const Operator& op : graph_.operators) {
      if (op.name == name) return op;
    }
    ADD_FAILURE() << name;
    return graph_.operators[0];
  }
  // The price with the declared signature of which the named weight is split so.
  Price PriceOf(const std::string& name, Sbp weight, int32_t ranks, const CostModel& cost,
                const StepShape& step) const {
    const Operator& op = Find(name);
    const GridPartition partition(graph_, {{1, ranks}});
    const GridOptions options =
        Combine(graph_, partition, RunnableSignatures(graph_, partition.over(true, false)),
                RunnableSignatures(graph_, partition.over(false, true)));
    for (const GridSignature& s : options[&op - graph_.operators.data()]) {
      if (s[kInner].weights[0] != weight) continue;
      if (weight == Sbp::B() && s != options[&op - graph_.operators.data()][0]) continue;
      return Pricing(graph_, partition, cost, step).PriceOf(op, s);
    }
    ADD_FAILURE() << name << " has no such signature";
    return {};
  }

  const Graph graph_;
  const StepShape one_ = StepShape::Decode(1, 16);
};

TEST_F(OperatorCostTest, ALinearLayerReadsItsPart) {
  const CostModel cost = Slow();
  // [128, 64] bf16.
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.up", Sbp::B(), 2, cost, one_).bytes, 16384);
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.up", Sbp::S(0), 2, cost, one_).bytes, 8192);
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.down", Sbp::S(1), 2, cost, one_).seconds, 8192e-6);
  // The fullest of three ranks: 128 columns are 8 granules of 16.
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.up", Sbp::S(0), 3, cost, one_).bytes, 3 * 16 * 64 * 2);
}

TEST_F(OperatorCostTest, ManyRowsAreBoundByArithmetic) {
  CostModel cost = Slow();
  cost.arithmetic = {{1, 1e6, 1e6}};
  // 8192 weights: 16384 bytes, 16384 operations a row.
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.up", Sbp::B(), 1, cost, one_).seconds, 16384e-6);
  EXPECT_DOUBLE_EQ(PriceOf("block.0.ffn.up", Sbp::B(), 1, cost, StepShape::Decode(4, 16)).seconds,
                   4 * 16384e-6);
}

TEST_F(OperatorCostTest, SplitRowsArePricedByTheFullestRank) {
  const CostModel cost = Slow();
  // 16 selections of 48 columns in bf16.
  const Price whole = PriceOf("memory.0.gather", Sbp::B(), 8, cost, one_);
  EXPECT_DOUBLE_EQ(whole.seconds, 16 * 96e-6);
  EXPECT_DOUBLE_EQ(whole.mean_seconds, whole.seconds);
  const Price split = PriceOf("memory.0.gather", Sbp::S(0), 8, cost, one_);
  EXPECT_DOUBLE_EQ(split.mean_seconds, 2 * 96e-6);
  EXPECT_DOUBLE_EQ(split.seconds, SpreadItems(16, 8).maximum * 96e-6);
  EXPECT_GT(split.seconds, 2 * split.mean_seconds);
}

TEST_F(OperatorCostTest, KeysAndEmbeddingsAreSplit) {
  const CostModel cost = Slow();
  const double keys = PriceOf("memory.0.candidates", Sbp::B(), 4, cost, one_).bytes;
  EXPECT_NEAR(PriceOf("memory.0.candidates", Sbp::S(0), 4, cost, one_).bytes, keys / 4, keys / 50);
  EXPECT_DOUBLE_EQ(PriceOf("embedding", Sbp::B(), 4, cost, one_).bytes, 128);
  EXPECT_DOUBLE_EQ(PriceOf("embedding", Sbp::S(1), 4, cost, one_).bytes, 32);
  const Price rows = PriceOf("embedding", Sbp::S(0), 4, cost, one_);
  EXPECT_DOUBLE_EQ(rows.mean_seconds, 32e-6);
  EXPECT_DOUBLE_EQ(rows.seconds, 128e-6);  // some rank has the row
}

TEST_F(OperatorCostTest, AttentionReadsTheCacheOfItsHeads) {
  const CostModel cost = Slow();
  const Operator& op = Find("block.0.attention");
  const GridPartition partition(graph_, {{1, 2}});
  const Pricing pricing(graph_, partition, cost, StepShape::Decode(3, 16));
  const GridSignature whole = {{{{Sbp::B()}, {}, {Sbp::B()}}, {{Sbp::B()}, {}, {Sbp::B()}}}};
  const GridSignature split = {{{{Sbp::B()}, {}, {Sbp::B()}}, {{Sbp::S(1)}, {}, {Sbp::S(1)}}}};
  // Keys and values of 17 positions, 4 heads of 16 floats, of three sequences.
  EXPECT_DOUBLE_EQ(pricing.PriceOf(op, whole).bytes, 3 * 17 * 2 * 4 * 16 * 4);
  EXPECT_DOUBLE_EQ(pricing.PriceOf(op, split).bytes, 3 * 17 * 2 * 2 * 16 * 4);
}

TEST_F(OperatorCostTest, AWindowBoundsWhatAttentionReads) {
  const CostModel cost = Slow();
  Operator op = Find("block.0.attention");
  op.attributes.mutable_attention()->set_window(8);
  const GridPartition partition(graph_, {{1, 1}});
  const GridSignature whole = {{{{Sbp::B()}, {}, {Sbp::B()}}, {{Sbp::B()}, {}, {Sbp::B()}}}};
  constexpr double kPosition = 2 * 4 * 16 * 4;
  const auto work = [&](const StepShape& step) {
    return Pricing(graph_, partition, cost, step).WorkOf(op, whole);
  };
  EXPECT_DOUBLE_EQ(work(StepShape::Decode(1, 16)).bytes, 8 * kPosition);
  EXPECT_DOUBLE_EQ(work(StepShape::Decode(1, 5)).bytes, 6 * kPosition);
  // Eight of ten tokens have full windows at most: they see 1, 2, ... 8, 8, 8.
  EXPECT_DOUBLE_EQ(work(StepShape::Prefill(10)).bytes, 10 * kPosition);
  EXPECT_DOUBLE_EQ(work(StepShape::Prefill(10)).weights, 2 * 4 * 16 * (36 + 16) / 10.0);
}

TEST_F(OperatorCostTest, ATokenReadsTheExpertsThatItChose) {
  // 8 experts of 96 hidden units, 2 chosen, width 64, bf16.
  const Graph moe = graph::BuildMemoryTransformer(graph::MoeTestModel(1), graph::Bf16Weights());
  const auto is_experts = [](const Operator& op) { return op.kind == v1::EXPERTS; };
  const auto op = std::find_if(moe.operators.begin(), moe.operators.end(), is_experts);
  ASSERT_NE(op, moe.operators.end());
  const CostModel cost = Slow();
  constexpr double kExpert = 3 * 64 * 96 * 2;
  const auto price = [&](Sbp weights, int32_t ranks, int64_t tokens) {
    const GridPartition partition(moe, {{1, ranks}});
    const GridOptions options =
        Combine(moe, partition, RunnableSignatures(moe, partition.over(true, false)),
                RunnableSignatures(moe, partition.over(false, true)));
    const Pricing pricing(moe, partition, cost, StepShape::Decode(tokens, 16));
    for (const GridSignature& s : options[op - moe.operators.begin()]) {
      if (s[kInner].weights[0] != weights) continue;
      EXPECT_DOUBLE_EQ(pricing.WeightShare(*op, s, 2), weights == Sbp::B() ? 1 : 2.0 / ranks / 2)
          << ranks;
      return pricing.PriceOf(*op, s);
    }
    ADD_FAILURE() << "no such signature";
    return Price();
  };
  EXPECT_DOUBLE_EQ(price(Sbp::B(), 1, 1).seconds, 2 * kExpert * 1e-6);
  EXPECT_DOUBLE_EQ(price(Sbp::S(1), 6, 1).seconds, 2 * kExpert / 6 * 1e-6);
  // Both on one rank in 3 of 7 cases.
  EXPECT_NEAR(price(Sbp::S(0), 2, 1).seconds, (1 + 3.0 / 7) * kExpert * 1e-6, 1e-12);
  EXPECT_DOUBLE_EQ(price(Sbp::S(0), 2, 1).mean_seconds, kExpert * 1e-6);
  EXPECT_NEAR(price(Sbp::S(0), 4, 1000).seconds, 2 * kExpert * 1e-6, 1e-9);
}

// Candidates of all ranks are merged in one exchange.
TEST_F(OperatorCostTest, CandidatesIndicesPayNoSecondLatency) {
  CostModel cost = Slow();
  cost.exchange_seconds = 1;
  cost.exchange_seconds_per_rank = 0;
  cost.exchange_bytes_per_second = 1e6;
  const GridPartition partition(graph_, {{1, 2}});
  const Pricing pricing(graph_, partition, cost, one_);
  const Operator& op = Find("memory.0.candidates");
  const Transfer merge = {kInner, Sbp::S(1), Sbp::B(), Sbp::B()};
  // Each rank has as many candidates as the merge leaves, and sends them once.
  const double index = 4e-6 * static_cast<double>(graph_.tensors[op.outputs[0]].cols);
  EXPECT_DOUBLE_EQ(pricing.ExchangeSeconds(op.outputs[0], merge), index);
  EXPECT_GT(pricing.ExchangeSeconds(op.outputs[1], merge), 1);
}

TEST_F(OperatorCostTest, ExchangesArePricedByTheirAxis) {
  CostModel cost = Slow();
  cost.exchange_seconds = 1;
  cost.exchange_seconds_per_rank = 0.5;
  cost.exchange_bytes_per_second = 1e3;
  cost.outer = {1e2, 10, 1};
  const GridPartition partition(graph_, {{2, 4}});
  const Pricing pricing(graph_, partition, cost, StepShape::Decode(2, 16));
  const int32_t x = Find("block.0.attention_norm").outputs[0];  // [2, 64] f32: 512 bytes
  EXPECT_DOUBLE_EQ(pricing.ExchangeSeconds(x, {kInner, Sbp::P(), Sbp::B(), Sbp::B()}),
                   1 + 3 * 0.5 + 2 * 512 * 0.75 / 1e3);
  for (const Transfer& half : {Transfer{kInner, Sbp::S(1), Sbp::B(), Sbp::B()},
                               Transfer{kInner, Sbp::P(), Sbp::S(1), Sbp::B()}}) {
    EXPECT_DOUBLE_EQ(pricing.ExchangeSeconds(x, half), 1 + 3 * 0.5 + 512 * 0.75 / 1e3);
  }
  EXPECT_DOUBLE_EQ(pricing.ExchangeSeconds(x, {kOuter, Sbp::P(), Sbp::B(), Sbp::B()}),
                   10 + 1 + 512 / 1e2);
  // A quarter of the columns.
  EXPECT_DOUBLE_EQ(pricing.ExchangeSeconds(x, {kOuter, Sbp::P(), Sbp::B(), Sbp::S(1)}),
                   10 + 1 + 128 / 1e2);
}

}  // namespace
}  // namespace mneme::plan
