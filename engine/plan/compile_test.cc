#include "engine/plan/compile.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "engine/graph/memory_transformer.h"
#include "engine/graph/test_models.h"
#include "engine/plan/explain.h"
#include "gtest/gtest.h"

namespace mneme::plan {
namespace {

CompileOptions Options() {
  CompileOptions options;
  options.model_name = "test";
  options.cluster.set_name("1xcpu");
  options.cluster.set_device("cpu");
  options.cluster.set_ranks(1);
  options.cluster.set_isa("avx512");
  options.limits.set_max_tokens(32);
  options.limits.set_max_sequences(4);
  options.limits.set_max_logit_rows(4);
  options.limits.set_max_positions(128);
  options.limits.set_kv_blocks(20);
  options.limits.set_kv_block_tokens(16);
  return options;
}

graph::Graph TestGraph() {
  return graph::BuildMemoryTransformer(graph::MemoryTestModel(2), graph::Bf16Weights());
}

TEST(CompileTest, EveryOperatorBecomesAnActorInOrder) {
  const graph::Graph graph = TestGraph();
  const v1::Plan plan = Compile(graph, Options()).value();
  ASSERT_EQ(plan.actors_size(), static_cast<int>(graph.operators.size()));
  for (int i = 0; i < plan.actors_size(); ++i) {
    EXPECT_EQ(plan.actors(i).name(), graph.operators[i].name);
    EXPECT_EQ(plan.actors(i).inputs_size(), static_cast<int>(graph.operators[i].inputs.size()));
    EXPECT_EQ(plan.actors(i).signature().find('S'), std::string::npos);
  }
}

CompileOptions RanksWithoutExchanges(int32_t ranks) {
  CompileOptions options = Options();
  options.cluster.set_ranks(ranks);
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  options.pins.weights = LayoutPins::Weights::kSplit;
  return options;
}

TEST(CompileTest, ProgramsOfLargerStepsHaveTheLogitsInOnePlace) {
  CompileOptions options = RanksWithoutExchanges(2);
  options.pins.large_steps = LayoutPins::LargeSteps::kRows;
  const v1::Plan plan = Compile(TestGraph(), options).value();
  ASSERT_EQ(plan.programs_size(), 1);
  EXPECT_EQ(plan.programs(0).from_tokens(), 4);
  const v1::Register& logits = plan.registers(plan.logits_register());
  const v1::Register& larger = plan.programs(0).registers(plan.programs(0).logits_register());
  EXPECT_EQ(larger.offset(), logits.offset());
  EXPECT_EQ(larger.slot_bytes(), logits.slot_bytes());
  EXPECT_EQ(larger.slots(), 2);
  for (const v1::Register& reg : plan.programs(0).registers()) {
    EXPECT_LE(reg.offset() + reg.slots() * reg.slot_bytes(), plan.arena_bytes());
    if (reg.name() == larger.name()) continue;
    EXPECT_GE(reg.offset(), 2 * logits.slot_bytes()) << reg.name();
  }
  EXPECT_NE(Explain(plan).find("in steps of 4 tokens and more"), std::string::npos);
  options.pins.large_steps = LayoutPins::LargeSteps::kSame;
  EXPECT_EQ(Compile(TestGraph(), options)->programs_size(), 0);
}

// Threads see all of a weight that each reads a part of in a decode step; processes have no more.
TEST(CompileTest, OnlyRanksThatShareMemoryReadWholeWeightsInLargerSteps) {
  for (bool shared : {true, false}) {
    CompileOptions options = RanksWithoutExchanges(2);
    options.cost.shared_memory = shared;
    options.pins.large_steps = LayoutPins::LargeSteps::kSame;
    const v1::Plan same = Compile(TestGraph(), options).value();
    options.pins.large_steps = LayoutPins::LargeSteps::kRows;
    const v1::Plan plan = Compile(TestGraph(), options).value();
    EXPECT_EQ(plan.weights_size() > same.weights_size(), shared);
    for (int i = same.weights_size(); i < plan.weights_size(); ++i) {
      EXPECT_EQ(plan.weights(i).layout().kind(), v1::Layout::BROADCAST);
      EXPECT_FALSE(plan.weights(i).shared_with().empty()) << plan.weights(i).name();
    }
    for (int r = 0; r < 2; ++r) {
      EXPECT_EQ(plan.memory(r).weight_bytes(), same.memory(r).weight_bytes());
    }
  }
}

// Of two plans that differ in nothing else, one may hold as much as the other needs.
TEST(CompileTest, LargerStepsTakeNoMemoryThatRanksDoNotHave) {
  CompileOptions options = RanksWithoutExchanges(2);
  options.cost.shared_memory = false;
  const auto held = [](const v1::Plan& plan) {
    int64_t most = 0;
    for (const v1::RankMemory& m : plan.memory()) {
      most = std::max(most, m.weight_bytes() + m.kv_bytes() + m.arena_bytes());
    }
    return most;
  };
  options.pins.large_steps = LayoutPins::LargeSteps::kSame;
  const int64_t same = held(*Compile(TestGraph(), options));
  options.pins.large_steps = LayoutPins::LargeSteps::kRows;
  const int64_t rows = held(*Compile(TestGraph(), options));
  ASSERT_GT(rows, same);
  for (const auto& [bytes, programs] : {std::pair(same, 0), std::pair(rows - 1, 0), {rows, 1}}) {
    options.cost.memory_bytes = bytes;
    const v1::Plan plan = Compile(TestGraph(), options).value();
    EXPECT_EQ(plan.programs_size(), programs) << bytes;
    EXPECT_LE(held(plan), bytes);
  }
}

TEST(CompileTest, TheLongestStepIsOfAFullSequence) {
  CompileOptions options = Options();
  const double few = Compile(TestGraph(), options)->longest_step_seconds();
  EXPECT_GT(few, 0);
  options.limits.set_max_tokens(64);
  const double more = Compile(TestGraph(), options)->longest_step_seconds();
  EXPECT_GT(more, few);
  options.limits.set_max_positions(4096);
  options.limits.set_kv_blocks(256);
  EXPECT_GT(Compile(TestGraph(), options)->longest_step_seconds(), more);
}

TEST(CompileTest, RegistersAliveTogetherDoNotOverlap) {
  const v1::Plan plan = Compile(TestGraph(), Options()).value();
  // Replays the order: what an actor reads must still be what was written last at that place.
  std::vector<int> owner(plan.arena_bytes() / 64, -1);
  for (const v1::Actor& actor : plan.actors()) {
    for (int32_t r : actor.inputs()) {
      if (r < 0) continue;
      EXPECT_EQ(owner[plan.registers(r).offset() / 64], r) << actor.name();
    }
    for (int32_t r : actor.outputs()) {
      if (r < 0) continue;
      const v1::Register& reg = plan.registers(r);
      for (int64_t b = 0; b < reg.slots() * reg.slot_bytes(); b += 64) {
        owner[(reg.offset() + b) / 64] = r;
      }
    }
  }
}

TEST(CompileTest, AnInPlaceOperatorKeepsItsRegister) {
  const v1::Plan plan = Compile(TestGraph(), Options()).value();
  int seen = 0;
  for (const v1::Actor& actor : plan.actors()) {
    if (actor.kind() != v1::ROPE) continue;
    EXPECT_EQ(actor.inputs(0), actor.outputs(0));
    ++seen;
  }
  EXPECT_EQ(seen, 4);
}

TEST(CompileTest, OnlyTheLogitsHaveTwoSlotsAndTraceIsKeptOnRequest) {
  CompileOptions options = Options();
  for (bool trace : {false, true}) {
    options.keep_trace = trace;
    const v1::Plan plan = Compile(TestGraph(), options).value();
    std::set<std::string> kept;
    for (const v1::Register& r : plan.registers()) {
      EXPECT_EQ(r.slots(), r.name() == "logits" ? 2 : 1) << r.name();
      if (r.kept()) kept.insert(r.name());
    }
    EXPECT_EQ(kept.count("logits"), 1u);
    EXPECT_EQ(plan.registers(plan.logits_register()).name(), "logits");
    EXPECT_EQ(kept.count("memory.1.grid"), trace ? 1u : 0u);
  }
}

TEST(CompileTest, MemoryIsWhatTheTensorsSayAndTiedWeightsCountOnce) {
  const v1::Plan plan = Compile(TestGraph(), Options()).value();
  int64_t weights = 0;
  for (const v1::Weight& w : plan.weights()) {
    if (w.name() != "head") weights += w.bytes();
    if (w.value_table()) {
      EXPECT_EQ(w.bytes(), 1600 * 128);  // (16 + 32) * 2 = 96, padded to 128
    }
  }
  EXPECT_EQ(plan.memory(0).weight_bytes(), weights);
  EXPECT_EQ(plan.memory(0).kv_bytes(), 2 * 2 * 20 * 16 * 64 * 4);
}

TEST(CompileTest, AWrongGraphIsAnErrorOfOurs) {
  graph::Graph graph = TestGraph();
  graph.operators.pop_back();
  const absl::Status status = Compile(graph, Options()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "graph of ultramem_v2: the logits are never written");
}

TEST(CompileTest, MemoryLayersRunInTheMemoryLane) {
  const v1::Plan plan = Compile(TestGraph(), Options()).value();
  for (const v1::Actor& actor : plan.actors()) {
    const bool memory = actor.name().starts_with("memory.");
    EXPECT_EQ(actor.lane(), memory ? v1::MEMORY : v1::COMPUTE) << actor.name();
  }
}

TEST(CompileTest, ImpossibleLimitsAreRefusedByName) {
  CompileOptions options = Options();
  options.limits.set_kv_block_tokens(24);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(),
            "kv_block_tokens is 24, must be a multiple of 16");
  options = Options();
  options.limits.set_max_sequences(0);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(),
            "max_sequences is 0, must be at least 1");
  options = Options();
  options.limits.set_max_tokens(3);
  EXPECT_EQ(Compile(TestGraph(), options).status().code(), absl::StatusCode::kInvalidArgument);
  options = Options();
  options.limits.set_max_logit_rows(3);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(),
            "max_logit_rows 3 is less than one of each of 4 sequences");
  options = Options();
  options.limits.set_max_positions(2'000'000'000);
  options.limits.set_max_sequences(32);
  options.limits.set_max_logit_rows(32);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(),
            "max_sequences 32 of 125000000 KV blocks each (max_positions 2000000000, "
            "kv_block_tokens 16) are more than 2147483647");
  options = Options();
  options.limits.set_max_tokens(200'000'000);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(),
            "max_tokens 200000000 of 16 selections each are more than 2147483647");
  options = Options();
  options.cluster.set_ranks(65);
  EXPECT_EQ(Compile(TestGraph(), options).status().message(), "ranks is 65, must be in [1, 64]");
}

TEST(ExplainTest, PredictsWhatAStepReads) {
  const v1::Plan plan = Compile(TestGraph(), Options()).value();
  const DecodeBytes d = PredictDecodeBytes(plan);
  EXPECT_EQ(d.value_rows_per_token, 2 * 16 * (16 + 32) * 2);  // without the rows' padding
  EXPECT_EQ(d.kv_per_position, 2 * 2 * 64 * 4);
  const int64_t per_block = 4 * 64 * 64 + 3 * 64 * 128 + 128 * 64 + 16 * 64 + 64 * 32;
  // Attention and FFN norm of 64, query and key norm of 16, query norm of the memory of 32.
  const int64_t norms = 2 * (2 * 64 + 2 * 16 + 32) + 64;
  EXPECT_EQ(d.dense_weights, 2 * (2 * per_block + 256 * 64) + 4 * norms);
  EXPECT_EQ(d.dense_weights_per_token, 2 * 64 + 2 * 2 * 16 * 4);
  // Keys; their norms per rank, the norm's weight, two directions; two cores.
  EXPECT_EQ(d.keys, 2 * (2 * 80 * 64 + 4 * (80 * 2 + 32 + 2 * 2) + 4 * 2 * 4));
  EXPECT_EQ(d.keys_per_token, 2 * 16 * 4);
}

TEST(ExplainTest, ShowsTheExpertsAndWhatATokenReadsOfThem) {
  CompileOptions options = Options();
  options.cluster.set_ranks(2);
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  const std::string text = Explain(
      Compile(graph::BuildMemoryTransformer(graph::MoeTestModel(1), graph::Bf16Weights()), options)
          .value());
  for (const std::string line :
       {"reads  block.0.expert_gate [8, 96, 64] bf16 S(1) 64+32\n",
        "reads  block.0.expert_down [8, 64, 96] bf16 S(2) 64+32\n",
        // 2 experts of three matrices, 64 or 32 of their hidden units, width 64.
        "value rows 0 B, expert weights up to 49.2 kB and, per position",
        "value rows 0 B, expert weights up to 24.6 kB and, per position"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(ExplainTest, TheHashNamesThePlan) {
  const v1::Plan a = Compile(TestGraph(), Options()).value();
  CompileOptions options = Options();
  options.limits.set_kv_blocks(21);
  const v1::Plan b = Compile(TestGraph(), options).value();
  EXPECT_EQ(PlanHash(a), PlanHash(a));
  EXPECT_NE(PlanHash(a), PlanHash(b));
  EXPECT_EQ(PlanHash(a).size(), 16u);
  EXPECT_NE(Explain(a).find("plan " + PlanHash(a)), std::string::npos);
}

}  // namespace
}  // namespace mneme::plan
