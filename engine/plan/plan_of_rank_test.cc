#include "engine/plan/plan_of_rank.h"

#include <map>
#include <string>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/compile.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

v1::Plan SplitPlan(int32_t ranks) {
  CompileOptions options;
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
  const graph::Graph graph =
      graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
  return Compile(graph, options).value();
}

// What is split is somewhere once, what is not is everywhere.
TEST(PlanOfRankTest, PartsMakeTheWhole) {
  for (int32_t ranks : {2, 3, 4}) {
    const v1::Plan plan = SplitPlan(ranks);
    std::map<std::string, int64_t> weight_bytes;
    std::map<int32_t, int64_t> kv_bytes;
    std::map<std::string, int64_t> columns;
    std::map<std::string, int64_t> heads;
    std::map<std::string, int64_t> selections;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const v1::Plan local = PlanOfRank(plan, rank);
      ASSERT_EQ(local.actors_size(), plan.actors_size());
      ASSERT_EQ(local.registers_size(), plan.registers_size());
      for (const v1::Weight& w : local.weights()) weight_bytes[w.name()] += w.bytes();
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
    int split = 0;
    for (const v1::Weight& w : plan.weights()) {
      const bool is_split = w.layout().kind() == v1::Layout::SPLIT;
      EXPECT_EQ(weight_bytes[w.name()], is_split ? w.bytes() : ranks * w.bytes()) << w.name();
      split += is_split;
    }
    // Query, key, value and output, the FFN's three, and more.
    EXPECT_GE(split, 2 * 7) << ranks;
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

}  // namespace
}  // namespace mneme::plan
