// Batch invariance of the whole model: bit for bit the same logits alone, in a batch, in chunks of
// any size, on other KV blocks and block sizes, and after recomputation. And: what runs is the
// plan.

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/plan/explain.h"
#include "engine/plan/plan_of_rank.h"
#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"
#include "tests/model/golden_case.h"
#include "tests/model/moe_case.h"
#include "tests/model/rank_runner.h"

namespace mneme::testing {
namespace {

using Logits = std::vector<std::vector<float>>;

std::unique_ptr<RankRunner> Runner(const std::string& name, bool bf16, int32_t block_tokens = 16,
                                   std::optional<kernels::Isa> isa = std::nullopt,
                                   int32_t ranks = 1, const plan::LayoutPins& pins = {}) {
  ModelOptions options;
  options.pins = pins;
  options.ranks = ranks;
  // As if exchanges cost nothing: whatever can be split is.
  options.cost.exchange_seconds = 0;
  options.cost.exchange_seconds_per_rank = 0;
  options.model_directory = "tests/golden/" + name;
  options.round_to_bf16 = bf16;
  options.kv_block_tokens = block_tokens;
  options.isa = isa;
  auto runner = RankRunner::Create(options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

// What is not free in a plan: nothing; every weight that can be split, tables by rows, by columns,
// and larger steps by their rows.
std::vector<plan::LayoutPins> SomePins(const std::string& name) {
  using Tables = plan::LayoutPins::Tables;
  std::vector<plan::LayoutPins> some(2);
  some[1].weights = plan::LayoutPins::Weights::kSplit;
  some[1].large_steps = plan::LayoutPins::LargeSteps::kRows;
  if (!GoldenCase(name).Has("mem_out.0")) return some;
  some[1].tables = Tables::kRows;
  some.push_back(some[1]);
  some[2].tables = Tables::kColumns;
  return some;
}

std::vector<int32_t> Prompt(int seed, int length) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(random() % 200));
  return tokens;
}

std::vector<int32_t> Slice(const std::vector<int32_t>& tokens, size_t first, size_t count) {
  return {tokens.begin() + first, tokens.begin() + first + count};
}

// In the largest steps the runner takes.
Logits RunWhole(RankRunner& runner, const std::vector<int32_t>& tokens) {
  Logits whole;
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min<size_t>(64, tokens.size() - done);
    for (std::vector<float>& row : runner.Run({{0, Slice(tokens, done, count)}})) {
      whole.push_back(std::move(row));
    }
    done += count;
  }
  return whole;
}

void CheckInvariance(RankRunner& runner) {
  const std::vector<int32_t> tokens = Prompt(1, 110);
  const Logits whole = RunWhole(runner, tokens);

  // One token after the other, on blocks in reverse order.
  runner.Reset(0, /*reversed=*/true);
  for (size_t i = 0; i < tokens.size(); ++i) {
    ASSERT_EQ(runner.Run({{0, {tokens[i]}}})[0], whole[i]) << "token " << i;
  }

  // Random chunks beside three other sequences, before and behind.
  std::mt19937 random(3);
  runner.Reset(0);
  std::vector<int32_t> other_length(4, 0);
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min<size_t>(1 + random() % 17, tokens.size() - done);
    std::vector<Chunk> chunks;
    size_t first_row = 0;
    for (int32_t other = 1; other < 4; ++other) {
      const int length = 1 + static_cast<int>(random() % 12);
      other_length[other] += length;
      if (random() % 2 == 0 || other_length[other] > 100) {
        runner.Reset(other);
        other_length[other] = length;
      }
      chunks.push_back({other, Prompt(static_cast<int>(random()), length)});
      if (other == 2) chunks.push_back({0, Slice(tokens, done, count)});
      if (other <= 2) first_row += length;
    }
    const Logits got = runner.Run(chunks);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(got[first_row + i], whole[done + i]) << "token " << done + i;
    }
    done += count;
  }
}

class InvarianceTest : public ::testing::TestWithParam<std::string> {};

TEST_P(InvarianceTest, ChunksNeighboursAndBlocksChangeNoBit) {
  for (const kernels::Isa isa : kernels::RunnableIsas()) {
    for (const bool bf16 : {false, true}) {
      SCOPED_TRACE(std::string(kernels::IsaName(isa)) + (bf16 ? " bf16" : " f32"));
      auto runner = Runner(GetParam(), bf16, 16, isa);
      ASSERT_NE(runner, nullptr);
      ASSERT_NO_FATAL_FAILURE(CheckInvariance(*runner));
    }
  }
}

// Exchanges too: how they sum depends on a step's rows (exchange_actors_test has both ways).
TEST_P(InvarianceTest, ChunksNeighboursAndBlocksChangeNoBitOnSeveralRanks) {
  for (const int32_t ranks : {2, 3}) {
    for (const plan::LayoutPins& pins : SomePins(GetParam())) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, " + plan::PinsText(pins));
      auto runner = Runner(GetParam(), /*bf16=*/true, 16, std::nullopt, ranks, pins);
      ASSERT_NE(runner, nullptr);
      ASSERT_NO_FATAL_FAILURE(CheckInvariance(*runner));
    }
  }
}

TEST_P(InvarianceTest, TheBlockSizeChangesNoBit) {
  auto runner = Runner(GetParam(), /*bf16=*/true);
  auto large = Runner(GetParam(), /*bf16=*/true, /*block_tokens=*/48);
  ASSERT_NE(runner, nullptr);
  ASSERT_NE(large, nullptr);
  const std::vector<int32_t> tokens = Prompt(5, 110);
  EXPECT_EQ(RunWhole(*runner, tokens), RunWhole(*large, tokens));
}

INSTANTIATE_TEST_SUITE_P(Cases, InvarianceTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

// Experts whole, split inside, and split by expert.
TEST(MoeInvarianceTest, ChunksNeighboursAndBlocksChangeNoBit) {
  for (const MoeCase& moe : MoeCases()) {
    for (const int32_t ranks : {1, 2, 3}) {
      for (const v1::ElementType type : {v1::F32, v1::BF16}) {
        SCOPED_TRACE(moe.name + " " + std::to_string(ranks));
        ModelOptions options;
        options.ranks = ranks;
        options.cost.exchange_seconds = 0;
        options.cost.exchange_seconds_per_rank = 0;
        auto runner = RankRunner::Generate(moe.model, type, options);
        ASSERT_TRUE(runner.ok()) << runner.status();
        ASSERT_NO_FATAL_FAILURE(CheckInvariance(**runner));
      }
    }
  }
}

TEST(PlanIsWhatRunsTest, AnActorTakenOutOfThePlanDoesNotRun) {
  ModelOptions options;
  options.model_directory = "tests/golden/ultramem_v2";
  options.trace = true;
  auto whole = RankRunner::Create(options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  std::string removed;
  auto edited = RankRunner::Create(options, [&](v1::Plan* plan) {
    for (int i = 0; i < plan->actors_size(); ++i) {
      if (plan->actors(i).name() != "memory.1.gather") continue;
      removed = plan->actors(i).name();
      plan->mutable_actors()->DeleteSubrange(i, 1);
      break;
    }
  });
  ASSERT_TRUE(edited.ok()) << edited.status();
  ASSERT_EQ(removed, "memory.1.gather");

  const std::vector<int32_t> tokens = Prompt(2, 20);
  const Logits with = (*whole)->Run({{0, tokens}});
  const Logits without = (*edited)->Run({{0, tokens}});
  EXPECT_NE(with, without);
  for (const auto& [runner, fired] : {std::pair(&*whole, true), std::pair(&*edited, false)}) {
    bool seen = false;
    for (const runtime::ActorProfile& actor : (*runner)->executor().rank(0).Profile()) {
      seen = seen || (actor.name == removed && actor.fired == 1);
    }
    EXPECT_EQ(seen, fired);
  }
  // Every other actor of the plan ran exactly once, in both.
  for (const runtime::ActorProfile& actor : (*edited)->executor().rank(0).Profile()) {
    EXPECT_EQ(actor.fired, 1u) << actor.name;
  }
}

TEST(PlanIsWhatRunsTest, APlanForOtherWeightsIsRefusedByName) {
  ModelOptions options;
  options.model_directory = "tests/golden/dense";
  const absl::Status status = RankRunner::Create(options, [](v1::Plan* plan) {
                                for (v1::Weight& w : *plan->mutable_weights()) {
                                  if (w.name() == "block.1.query") w.set_type(v1::BF16);
                                }
                              }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("weight block.1.query"), std::string::npos) << status;
}

TEST(PlanIsWhatRunsTest, AnUnknownOperatorIsRefusedByName) {
  ModelOptions options;
  options.model_directory = "tests/golden/dense";
  const absl::Status status = RankRunner::Create(options, [](v1::Plan* plan) {
                                plan->mutable_actors(3)->set_kind(v1::OPERATOR_KIND_UNSPECIFIED);
                              }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("has no operator OPERATOR_KIND_UNSPECIFIED"), std::string::npos)
      << status;
}

TEST(PlanIsWhatRunsTest, AWeightOfATypeThatNoKernelReadsIsRefusedByName) {
  ModelOptions options;
  options.model_directory = "tests/golden/ultramem_v2";
  const absl::Status status = RankRunner::Create(options, [](v1::Plan* plan) {
                                for (v1::Actor& actor : *plan->mutable_actors()) {
                                  // The cores where its kernel expects the shuffle.
                                  if (actor.name() != "memory.0.select") continue;
                                  actor.set_weights(1, actor.weights(0));
                                }
                              }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "actor memory.0.select: its kernel does not read weight memory.0.cores as F32");
}

TEST(TrafficTest, ADecodeStepReadsWhatThePlanPredicts) {
  auto runner = Runner("ultramem_v2", /*bf16=*/true);
  ASSERT_NE(runner, nullptr);
  runner->Run({{0, Prompt(1, 1)}});
  const kernels::Traffic& traffic = runner->result().traffic;
  const auto read = [&](kernels::TrafficClass c) {
    return traffic.read_bytes[static_cast<int>(c)];
  };
  const plan::DecodeBytes predicted = plan::PredictDecodeBytes(runner->plan());
  // 3 memory layers, 8 selections, rows of (16 + 32) bf16; two selections may name one row.
  EXPECT_EQ(predicted.value_rows_per_token, 3 * 8 * 48 * 2);
  EXPECT_LE(read(kernels::TrafficClass::kValueRows),
            static_cast<uint64_t>(predicted.value_rows_per_token));
  EXPECT_GE(read(kernels::TrafficClass::kValueRows), 3u * 4 * 48 * 2);
  double shares = 0;
  for (double bytes : runner->result().token_value_row_bytes) shares += bytes;
  EXPECT_DOUBLE_EQ(shares, static_cast<double>(read(kernels::TrafficClass::kValueRows)));
  EXPECT_EQ(read(kernels::TrafficClass::kDenseWeights),
            static_cast<uint64_t>(predicted.dense_weights + predicted.dense_weights_per_token));
  EXPECT_EQ(read(kernels::TrafficClass::kKeys),
            static_cast<uint64_t>(predicted.keys + predicted.keys_per_token));
  EXPECT_EQ(read(kernels::TrafficClass::kKv), static_cast<uint64_t>(predicted.kv_per_position));
  // Every linear weight once: the attention (4 * 64 * 64), the FFN (3 * 64 * 64), query, pre-query
  // and output of the memory; and the tied head. The rest are norms.
  const int64_t linear = 2 * (3 * (7 * 64 * 64 + 128 * 64 + 16 * 64 + 64 * 32) + 256 * 64);
  EXPECT_GE(predicted.dense_weights, linear);
  EXPECT_LE(predicted.dense_weights, linear + 8192);
  // Two sequences of one token each: what is per token doubles, the rest does not.
  runner->Reset(0);
  runner->Run({{0, Prompt(1, 1)}, {1, Prompt(2, 1)}});
  EXPECT_EQ(read(kernels::TrafficClass::kDenseWeights),
            static_cast<uint64_t>(predicted.dense_weights + 2 * predicted.dense_weights_per_token));
  EXPECT_EQ(read(kernels::TrafficClass::kKv), static_cast<uint64_t>(2 * predicted.kv_per_position));
}

// A traced tensor that ranks have parts of is that of the last step, as on one rank.
TEST(TraceTest, IsPutTogetherAnewForEachStep) {
  std::vector<std::vector<std::vector<float>>> traced;  // by ranks, by step
  for (const int32_t ranks : {1, 2}) {
    ModelOptions options;
    options.model_directory = "tests/golden/ultramem_v2";
    options.trace = true;
    options.ranks = ranks;
    options.cost.exchange_seconds = 0;
    options.cost.exchange_seconds_per_rank = 0;
    auto runner = RankRunner::Create(options);
    ASSERT_TRUE(runner.ok()) << runner.status();
    auto& steps = traced.emplace_back();
    for (int seed : {1, 2, 3}) {
      (*runner)->Run({{0, Prompt(seed, 5)}});
      for (int look = 0; look < 2; ++look) {
        const auto out = (*runner)->executor().Trace("memory.0.out").As<float>();
        ASSERT_EQ(out.rows, 5);
        steps.emplace_back(out.data, out.data + out.rows * out.cols);
      }
    }
  }
  for (size_t step = 0; step < traced[0].size(); ++step) {
    for (size_t i = 0; i < traced[0][step].size(); ++i) {
      ASSERT_NEAR(traced[1][step][i], traced[0][step][i], 1e-4) << step;
    }
    if (step >= 2) {
      EXPECT_NE(traced[1][step], traced[1][step - 2]);
    }
  }
}

// All ranks together: what they split is read once, what they have in common by each.
TEST(TrafficTest, RanksReadWhatTheirPlansPredict) {
  auto alone = Runner("ultramem_v2", /*bf16=*/true);
  ASSERT_NE(alone, nullptr);
  alone->Run({{0, Prompt(1, 1)}});
  const auto rows = static_cast<int>(kernels::TrafficClass::kValueRows);
  const uint64_t rows_alone = alone->result().traffic.read_bytes[rows];
  for (const int32_t ranks : {2, 3}) {
    for (const plan::LayoutPins& pins : SomePins("ultramem_v2")) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, " + plan::PinsText(pins));
      auto runner = Runner("ultramem_v2", /*bf16=*/true, 16, std::nullopt, ranks, pins);
      ASSERT_NE(runner, nullptr);
      runner->Run({{0, Prompt(1, 1)}});
      const kernels::Traffic& traffic = runner->result().traffic;
      plan::DecodeBytes all;
      for (int32_t rank = 0; rank < ranks; ++rank) {
        const plan::DecodeBytes d =
            plan::PredictDecodeBytes(plan::PlanOfRank(runner->plan(), rank));
        all.dense_weights += d.dense_weights + d.dense_weights_per_token;
        all.keys += d.keys + d.keys_per_token;
        all.kv_per_position += d.kv_per_position;
        all.value_rows_per_token += d.value_rows_per_token;
      }
      const auto read = [&](kernels::TrafficClass c) {
        return static_cast<int64_t>(traffic.read_bytes[static_cast<int>(c)]);
      };
      EXPECT_EQ(read(kernels::TrafficClass::kDenseWeights), all.dense_weights);
      EXPECT_EQ(read(kernels::TrafficClass::kKeys), all.keys);
      EXPECT_EQ(read(kernels::TrafficClass::kKv), all.kv_per_position);
      EXPECT_GT(read(kernels::TrafficClass::kExchange), 0);
      // Rows that several selections name are read once: by each byte's one rank, if the table is
      // divided.
      EXPECT_LE(read(kernels::TrafficClass::kValueRows), all.value_rows_per_token);
      if (pins.tables != plan::LayoutPins::Tables::kFree) {
        EXPECT_EQ(read(kernels::TrafficClass::kValueRows), static_cast<int64_t>(rows_alone));
        EXPECT_EQ(all.value_rows_per_token, 3 * 8 * 48 * 2);
      }
      double shares = 0;
      for (double bytes : runner->result().token_value_row_bytes) shares += bytes;
      EXPECT_NEAR(shares, static_cast<double>(read(kernels::TrafficClass::kValueRows)), 1e-6);
    }
  }
}

}  // namespace
}  // namespace mneme::testing
