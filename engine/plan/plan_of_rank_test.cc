#include "engine/plan/plan_of_rank.h"

#include <map>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/compile.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

using Tables = LayoutPins::Tables;

v1::Plan SplitPlan(const graph::Graph& graph, int32_t ranks, const LayoutPins& pins = {}) {
  CompileOptions options;
  options.pins = pins;
  options.cluster.set_name("test");
  options.cluster.set_device("cpu");
  options.cluster.set_ranks(ranks);
  options.cluster.set_isa("portable");
  options.limits.set_max_tokens(32);
  options.limits.set_max_sequences(4);
  options.limits.set_max_logit_rows(4);
  options.limits.set_max_positions(128);
  options.limits.set_kv_blocks(20);
  options.limits.set_kv_block_tokens(16);
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  return Compile(graph, options).value();
}

v1::Plan SplitPlan(int32_t ranks, const LayoutPins& pins = {}) {
  return SplitPlan(graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights()),
                   ranks, pins);
}

// 2 key-value heads on 4 ranks: two ranks have each, and the first of them counts it.
TEST(SquareSumTest, SharedHeadsAreCountedOnce) {
  loader::ModelDescription model = graph::MoeTestModel(1);
  model.attention.kv_heads = 2;
  LayoutPins pins;
  pins.operators = {{"block.0.square_sum", "(S(1), S(1)) -> P"}};
  const v1::Plan plan =
      SplitPlan(graph::BuildMemoryTransformer(model, graph::Bf16Weights()), 4, pins);
  int sums = 0;
  for (int32_t rank = 0; rank < 4; ++rank) {
    const v1::Plan local = PlanOfRank(plan, rank);
    for (const v1::Actor& actor : local.actors()) {
      if (actor.kind() != v1::SQUARE_SUM) continue;
      ++sums;
      EXPECT_GE(actor.inputs(0), 0);
      EXPECT_EQ(actor.inputs(1) >= 0, rank % 2 == 0) << rank;
    }
  }
  EXPECT_EQ(sums, 4);
}

class PartsTest : public ::testing::TestWithParam<Tables> {};

// What is split is somewhere once, what is not is everywhere.
TEST_P(PartsTest, OfWeightsMakeTheWhole) {
  LayoutPins pins;
  pins.tables = GetParam();
  for (int32_t ranks : {2, 3, 4}) {
    const v1::Plan plan = SplitPlan(ranks, pins);
    std::map<std::string, int64_t> weight_bytes;
    std::map<std::string, int64_t> elements;
    int64_t pre_width = 0;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const v1::Plan local = PlanOfRank(plan, rank);
      for (const v1::Weight& w : local.weights()) {
        weight_bytes[w.name()] += w.bytes();
        elements[w.name()] += w.shape(0) * w.shape(1);
      }
      for (const v1::Actor& actor : local.actors()) {
        if (actor.name() != "memory.0.pre_score") continue;
        EXPECT_EQ(actor.attributes().gather().first_pre_col(), pre_width);
        pre_width += actor.attributes().gather().pre_width();
      }
    }
    int split = 0;
    for (const v1::Weight& w : plan.weights()) {
      const bool is_split = w.layout().kind() == v1::Layout::SPLIT;
      const int64_t copies = is_split ? 1 : ranks;
      EXPECT_EQ(elements[w.name()], copies * w.shape(0) * w.shape(1)) << w.name();
      split += is_split;
      if (!w.value_table()) {
        EXPECT_EQ(weight_bytes[w.name()], copies * w.bytes()) << w.name();
        continue;
      }
      // Some columns of a row take whole cache lines.
      EXPECT_GE(weight_bytes[w.name()], copies * w.bytes()) << w.name();
      const bool rows = w.layout().block() > 0;
      EXPECT_TRUE(GetParam() != Tables::kRows || rows);
      if (GetParam() != Tables::kFree) {
        EXPECT_EQ(GetParam() == Tables::kColumns, is_split && !rows);
      }
      EXPECT_EQ(pre_width, is_split && !rows ? 16 : 0);
    }
    // Query, key, value and output, the FFN's three, and more.
    EXPECT_GE(split, 2 * 7) << ranks;
  }
}

TEST_P(PartsTest, OfActivationsMakeTheWhole) {
  LayoutPins pins;
  pins.tables = GetParam();
  for (int32_t ranks : {2, 3, 4}) {
    const v1::Plan plan = SplitPlan(ranks, pins);
    std::map<int32_t, int64_t> kv_bytes;
    std::map<std::string, int64_t> columns;
    std::map<std::string, int64_t> heads;
    std::map<std::string, int64_t> selections;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const v1::Plan local = PlanOfRank(plan, rank);
      ASSERT_EQ(local.actors_size(), plan.actors_size());
      ASSERT_EQ(local.registers_size(), plan.registers_size());
      for (const v1::KvCache& c : local.kv_caches()) kv_bytes[c.layer()] += c.bytes();
      for (int i = 0; i < plan.registers_size(); ++i) {
        EXPECT_EQ(local.registers(i).offset(), plan.registers(i).offset());
        if (plan.registers(i).layout().kind() != v1::Layout::SPLIT) continue;
        columns[plan.registers(i).name()] += local.registers(i).cols();
        // The widest part fits.
        const int64_t rows = plan.registers(i).rows() == v1::Register::TOKENS
                                 ? plan.limits().max_tokens()
                                 : plan.limits().max_logit_rows();
        EXPECT_LE(rows * local.registers(i).cols() * 4, plan.registers(i).slot_bytes());
      }
      for (const v1::Actor& actor : local.actors()) {
        heads[actor.name()] += actor.attributes().attention().heads();
        selections[actor.name()] += actor.attributes().gather().selections();
      }
    }
    for (const v1::KvCache& c : plan.kv_caches()) EXPECT_EQ(kv_bytes[c.layer()], c.bytes());
    for (const v1::Register& r : plan.registers()) {
      if (r.layout().kind() != v1::Layout::SPLIT) continue;
      // Of candidates every rank has as many as its keys give.
      const bool candidates = r.name().find("candidate") != std::string::npos;
      const v1::Layout& layout = r.layout();
      EXPECT_EQ(columns[r.name()], layout.parts(ranks - 1).end()) << r.name();
      EXPECT_GE(columns[r.name()], r.cols()) << r.name();
      EXPECT_EQ(columns[r.name()] == r.cols(), !candidates) << r.name();
    }
    for (const v1::Actor& actor : plan.actors()) {
      EXPECT_EQ(heads[actor.name()], actor.attributes().attention().heads());
      if (actor.kind() != v1::VALUE_GATHER) continue;
      const int64_t all = actor.attributes().gather().selections();
      EXPECT_TRUE(selections[actor.name()] == all || selections[actor.name()] == ranks * all);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, PartsTest,
                         ::testing::Values(Tables::kFree, Tables::kRows, Tables::kColumns,
                                           Tables::kSelections));

TEST(PlanOfRankTest, ABiasIsOnOneRankWhereTheOutputIsPartial) {
  v1::Plan plan;
  plan.mutable_cluster()->set_ranks(2);
  plan.add_registers();
  plan.add_registers()->mutable_layout()->set_kind(v1::Layout::PARTIAL);
  plan.add_weights();
  plan.add_weights();
  for (int32_t output : {0, 1}) {
    v1::Actor* actor = plan.add_actors();
    actor->set_kind(v1::LINEAR);
    actor->add_inputs(0);
    actor->add_outputs(output);
    actor->add_weights(0);
    actor->add_weights(1);
  }
  EXPECT_EQ(PlanOfRank(plan, 0).actors(1).weights(1), 1);
  EXPECT_EQ(PlanOfRank(plan, 1).actors(1).weights(1), -1);
  EXPECT_EQ(PlanOfRank(plan, 1).actors(0).weights(1), 1);
}

TEST(PlanOfRankTest, WhatOneRankAddsIsAbsentElsewhere) {
  const v1::Plan plan = SplitPlan(2);
  int front_only = 0;
  const v1::Plan first = PlanOfRank(plan, 0);
  const v1::Plan second = PlanOfRank(plan, 1);
  for (int i = 0; i < plan.actors_size(); ++i) {
    for (int input = 0; input < plan.actors(i).input_layouts_size(); ++input) {
      const int32_t index = plan.actors(i).inputs(input);
      if (index < 0) continue;
      const bool whole = plan.registers(index).layout().kind() == v1::Layout::BROADCAST;
      const bool addend = plan.actors(i).input_layouts(input).kind() == v1::Layout::PARTIAL;
      EXPECT_EQ(first.actors(i).inputs(input), index);
      EXPECT_EQ(second.actors(i).inputs(input), whole && addend ? -1 : index);
      front_only += whole && addend;
    }
  }
  EXPECT_GT(front_only, 0);
}

TEST(PlanOfRankTest, OneRankHasThePlanAsItIs) {
  const v1::Plan plan = SplitPlan(1);
  EXPECT_EQ(PlanOfRank(plan, 0).SerializeAsString(), plan.SerializeAsString());
}

// Nothing that a rank reads of another one is overwritten before all have come to the next
// exchange.
TEST(ExchangeLifetimeTest, SourcesOutliveTheExchange) {
  const v1::Plan plan = SplitPlan(2);
  std::vector<int> exchanges;
  for (int i = 0; i < plan.actors_size(); ++i) {
    const v1::OperatorKind kind = plan.actors(i).kind();
    if (kind == v1::ALL_REDUCE || kind == v1::ALL_GATHER || kind == v1::REDUCE_SCATTER ||
        kind == v1::PRODUCT_KEY_MERGE) {
      exchanges.push_back(i);
    }
  }
  ASSERT_GT(exchanges.size(), 2u);
  const auto overlap = [&](const v1::Register& a, const v1::Register& b) {
    return a.offset() < b.offset() + b.slots() * b.slot_bytes() &&
           b.offset() < a.offset() + a.slots() * a.slot_bytes();
  };
  for (size_t e = 0; e < exchanges.size(); ++e) {
    const auto& sources = plan.actors(exchanges[e]).inputs();
    const int end = e + 1 < exchanges.size() ? exchanges[e + 1] : plan.actors_size() - 1;
    for (int i = exchanges[e]; i <= end; ++i) {
      for (int32_t output : plan.actors(i).outputs()) {
        if (output < 0) continue;
        for (int32_t source : sources) {
          EXPECT_FALSE(overlap(plan.registers(source), plan.registers(output)))
              << plan.actors(i).name() << " writes over what " << plan.actors(exchanges[e]).name()
              << " reads";
        }
      }
    }
  }
}

const v1::Weight& Named(const v1::Plan& plan, const std::string& name) {
  for (const v1::Weight& w : plan.weights()) {
    if (w.name() == name) return w;
  }
  ADD_FAILURE() << "no weight " << name;
  return plan.weights(0);
}

const v1::Attributes::Experts& ExpertsOf(const v1::Plan& plan) {
  for (const v1::Actor& actor : plan.actors()) {
    if (actor.kind() == v1::EXPERTS) return actor.attributes().experts();
  }
  ADD_FAILURE() << "no experts";
  return plan.actors(0).attributes().experts();
}

// 8 experts of 96 hidden units on 64 columns: units are split, 64 and 32.
TEST(PlanOfRankTest, HiddenUnitsOfEveryExpert) {
  const v1::Plan plan =
      SplitPlan(graph::BuildMemoryTransformer(graph::MoeTestModel(1), graph::Bf16Weights()), 2);
  for (int32_t rank : {0, 1}) {
    const v1::Plan local = PlanOfRank(plan, rank);
    const int64_t units = rank == 0 ? 64 : 32;
    for (const char* name : {"block.0.expert_gate", "block.0.expert_up"}) {
      const v1::Weight& w = Named(local, name);
      EXPECT_EQ(w.stack(), 8);
      EXPECT_EQ(w.shape(0), 8 * units);
      EXPECT_EQ(w.shape(1), 64);
      EXPECT_EQ(w.first_row(), rank * 64);
      EXPECT_EQ(w.first_col(), 0);
      EXPECT_EQ(w.bytes(), 8 * units * 64 * 2);
    }
    const v1::Weight& down = Named(local, "block.0.expert_down");
    EXPECT_EQ(down.stack(), 8);
    EXPECT_EQ(down.shape(0), 8 * 64);
    EXPECT_EQ(down.shape(1), units);
    EXPECT_EQ(down.first_row(), 0);
    EXPECT_EQ(down.first_col(), rank * 64);
    EXPECT_EQ(down.bytes(), 8 * 64 * units * 2);
    EXPECT_EQ(ExpertsOf(local).experts(), 8);
    EXPECT_EQ(ExpertsOf(local).first(), 0);
  }
}

TEST(PlanOfRankTest, SomeOfTheExperts) {
  loader::ModelDescription model = graph::MoeTestModel(1);
  model.moe->hidden = 16;  // one vector: not split
  const v1::Plan plan = SplitPlan(graph::BuildMemoryTransformer(model, graph::Bf16Weights()), 3);
  const int64_t first[] = {0, 3, 6, 8};
  for (int32_t rank : {0, 1, 2}) {
    const v1::Plan local = PlanOfRank(plan, rank);
    const int64_t count = first[rank + 1] - first[rank];
    const v1::Weight& gate = Named(local, "block.0.expert_gate");
    EXPECT_EQ(gate.stack(), count);
    EXPECT_EQ(gate.shape(0), count * 16);
    EXPECT_EQ(gate.first_row(), first[rank] * 16);
    EXPECT_EQ(gate.bytes(), count * 16 * 64 * 2);
    const v1::Weight& down = Named(local, "block.0.expert_down");
    EXPECT_EQ(down.shape(0), count * 64);
    EXPECT_EQ(down.shape(1), 16);
    EXPECT_EQ(down.first_row(), first[rank] * 64);
    EXPECT_EQ(ExpertsOf(local).experts(), count);
    EXPECT_EQ(ExpertsOf(local).first(), first[rank]);
  }
}

}  // namespace
}  // namespace mneme::plan
