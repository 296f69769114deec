// Mixture-of-Experts models with generated weights through graph, plan and actors, on one to four
// ranks and with every implementation of the kernels, against the model written down in double; the
// bytes of experts that a step reads; and which way the experts are split.

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/explain.h"
#include "engine/plan/plan_of_rank.h"
#include "gtest/gtest.h"
#include "kernels/simd/runnable_isas.h"
#include "tests/model/golden_case.h"
#include "tests/model/moe_case.h"
#include "tests/model/rank_runner.h"

namespace mneme::testing {
namespace {

using kernels::Isa;

constexpr char kWhole[] = "(B, B, B, B, B, B) -> B";
constexpr char kByTokens[] = "(S(0), S(0), S(0), B, B, B) -> S(0)";
constexpr char kByExpert[] = "(B, B, B, S(0), S(0), S(0)) -> P";
constexpr char kByWidth[] = "(B, B, B, S(1), S(1), S(2)) -> P";

std::unique_ptr<RankRunner> Runner(const MoeCase& moe, v1::ElementType type, int32_t ranks,
                                   Isa isa = kernels::DetectIsa(), bool reference = false,
                                   plan::LayoutPins::LargeSteps large = {}, bool whole = false) {
  ModelOptions options;
  options.pins.large_steps = large;
  options.trace = true;
  options.isa = isa;
  options.reference_kernels = reference;
  options.ranks = ranks;
  // As if exchanges cost nothing: whatever can be split is. Or so much that nothing is.
  options.cost.exchange_seconds = whole ? 1 : 0;
  options.cost.exchange_seconds_per_rank = 0;
  auto runner = RankRunner::Generate(moe.model, type, options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

std::vector<int32_t> Tokens(int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * i * 37 + i * 11 + 3) % 250);
  return tokens;
}

std::set<std::string> ExpertSignatures(const v1::Plan& plan) {
  std::set<std::string> signatures;
  for (const v1::Actor& actor : plan.actors()) {
    if (actor.kind() == v1::EXPERTS) signatures.insert(actor.signature());
  }
  return signatures;
}

uint64_t ExpertBytesRead(const RankRunner& runner) {
  return runner.result()
      .traffic.read_bytes[static_cast<int>(kernels::TrafficClass::kExpertWeights)];
}

class MoeTest : public ::testing::TestWithParam<std::string> {
 protected:
  const MoeCase& case_ = MoeCaseOf(GetParam());
};

// Logits within 1e-5 of their scale, as for the golden models, and every choice of experts.
void ExpectMatches(const PlainOutputs& plain, RankRunner* runner,
                   const std::vector<int32_t>& tokens) {
  const std::vector<std::vector<float>> got = runner->Run({{0, tokens}});
  ASSERT_EQ(got.size(), tokens.size());
  std::vector<float> all;
  for (const auto& row : plain.logits) all.insert(all.end(), row.begin(), row.end());
  const double unit = StandardDeviation(all);
  for (size_t t = 0; t < tokens.size(); ++t) {
    ASSERT_EQ(got[t].size(), plain.logits[t].size());
    for (size_t i = 0; i < got[t].size(); ++i) {
      ASSERT_NEAR(got[t][i], plain.logits[t][i], 1e-5 * unit) << "token " << t << " logit " << i;
    }
  }
  for (size_t block = 0; block < plain.experts.size(); ++block) {
    if (plain.experts[block].empty()) continue;
    const auto expert =
        runner->executor().Trace(absl::StrCat("block.", block, ".router.expert")).As<int32_t>();
    ASSERT_EQ(expert.rows, static_cast<int64_t>(tokens.size()));
    for (size_t t = 0; t < tokens.size(); ++t) {
      const int32_t* row = expert.row(static_cast<int64_t>(t));
      EXPECT_EQ(std::vector<int32_t>(row, row + expert.cols), plain.experts[block][t]);
    }
  }
}

// A step divided by rows gives the bits of one that is not; experts that are whole on every rank
// are read by those whose tokens chose them.
void CheckStepsByRows(const MoeCase& moe, v1::ElementType type, int32_t ranks,
                      const std::vector<int32_t>& tokens) {
  using LargeSteps = plan::LayoutPins::LargeSteps;
  const Isa isa = kernels::DetectIsa();
  for (bool whole : {false, true}) {
    auto same = Runner(moe, type, ranks, isa, false, LargeSteps::kSame, whole);
    auto rows = Runner(moe, type, ranks, isa, false, LargeSteps::kRows, whole);
    ASSERT_EQ(same->plan().programs_size(), 0);
    ASSERT_EQ(rows->plan().programs_size(), 1);
    EXPECT_EQ(rows->Run({{0, tokens}}), same->Run({{0, tokens}}));
    const auto signatures = ExpertSignatures(plan::PlanOfProgram(rows->plan(), 0));
    EXPECT_TRUE(!whole || signatures.count(kByTokens) > 0);
    double shares = 0;
    for (const double bytes : rows->result().token_expert_bytes) {
      EXPECT_GT(bytes, 0);
      shares += bytes;
    }
    const auto read = static_cast<double>(ExpertBytesRead(*rows));
    EXPECT_NEAR(shares, read, 1e-6 * read);
    EXPECT_LE(read, static_cast<double>(ExpertBytesRead(*same)));
  }
}

TEST_P(MoeTest, MatchesTheModelWrittenInDouble) {
  const std::vector<int32_t> tokens = Tokens(40);
  for (const v1::ElementType type : {v1::F32, v1::BF16}) {
    auto reference = Runner(case_, type, 1, Isa::kPortable, /*reference=*/true);
    ASSERT_NE(reference, nullptr);
    const PlainOutputs plain = RunPlainly(case_.model, reference->weights(), tokens);
    // Or another choice would be right, too.
    ASSERT_GT(plain.least_gap, 1e-5);
    ASSERT_NO_FATAL_FAILURE(ExpectMatches(plain, reference.get(), tokens));
    for (const Isa isa : kernels::RunnableIsas()) {
      SCOPED_TRACE(kernels::IsaName(isa));
      auto runner = Runner(case_, type, 1, isa);
      ASSERT_NE(runner, nullptr);
      ASSERT_NO_FATAL_FAILURE(ExpectMatches(plain, runner.get(), tokens));
    }
    for (const int32_t ranks : {2, 3, 4}) {
      SCOPED_TRACE(absl::StrCat(ranks, " ranks"));
      auto runner = Runner(case_, type, ranks);
      ASSERT_NE(runner, nullptr);
      ASSERT_NO_FATAL_FAILURE(ExpectMatches(plain, runner.get(), tokens));
      CheckStepsByRows(case_, type, ranks, tokens);
    }
  }
}

// Each distinct expert of each block once, on whatever ranks its parts lie; whole ones on every
// rank. What tokens shared is divided among them.
TEST_P(MoeTest, AStepReadsTheDistinctExpertsThatItsTokensChose) {
  const loader::MoeDescription& moe = *case_.model.moe;
  const int64_t expert_bytes = 3 * case_.model.dim * moe.hidden * 2;
  for (const int32_t ranks : {1, 2, 3, 4}) {
    auto runner = Runner(case_, v1::BF16, ranks);
    ASSERT_NE(runner, nullptr);
    const bool whole = ExpertSignatures(runner->plan()).count(kWhole) > 0;
    for (const int count : {1, 2, 30}) {
      runner->Reset(0);
      runner->Run({{0, Tokens(count)}});
      uint64_t distinct = 0;
      for (int64_t block = 0; block < case_.model.layers; ++block) {
        const kernels::TensorView trace =
            runner->executor().Trace(absl::StrCat("block.", block, ".router.expert"));
        if (trace.empty()) continue;  // a block without experts
        const auto expert = trace.As<int32_t>();
        distinct += std::set<int32_t>(expert.data, expert.data + expert.rows * expert.cols).size();
      }
      EXPECT_EQ(ExpertBytesRead(*runner),
                distinct * static_cast<uint64_t>(expert_bytes * (whole ? ranks : 1)))
          << ranks << " ranks, " << count << " tokens";
      double shares = 0;
      for (const double bytes : runner->result().token_expert_bytes) shares += bytes;
      EXPECT_NEAR(shares, static_cast<double>(ExpertBytesRead(*runner)), 1e-6 * shares);
    }
  }
}

TEST_P(MoeTest, ATokenReadsNoMoreThanThePlanPredicts) {
  for (const int32_t ranks : {1, 2, 3, 4}) {
    auto runner = Runner(case_, v1::BF16, ranks);
    ASSERT_NE(runner, nullptr);
    runner->Run({{0, Tokens(1)}});
    uint64_t most = 0;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      most +=
          plan::PredictDecodeBytes(plan::PlanOfRank(runner->plan(), rank)).expert_weights_per_token;
    }
    if (ExpertSignatures(runner->plan()).count(kByExpert) > 0) {
      EXPECT_LE(ExpertBytesRead(*runner), most) << ranks;
    } else {
      EXPECT_EQ(ExpertBytesRead(*runner), most) << ranks;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MoeTest,
                         ::testing::Values("wide", "narrow", "few", "grouped", "mixtral", "qwen2"),
                         [](const auto& info) { return info.param; });

TEST(MoeSplitTest, ExpertsAreSplitInsideElseByExpertElseNotAtAll) {
  using Set = std::set<std::string>;
  const auto signatures = [](const char* name, int32_t ranks) {
    return ExpertSignatures(Runner(MoeCaseOf(name), v1::BF16, ranks)->plan());
  };
  for (const char* name : {"wide", "narrow", "few", "mixtral", "qwen2"}) {
    EXPECT_EQ(signatures(name, 1), Set{kWhole}) << name;
  }
  for (const int32_t ranks : {2, 3, 4}) {
    EXPECT_EQ(signatures("wide", ranks), Set{kByWidth}) << ranks;
    EXPECT_EQ(signatures("mixtral", ranks), Set{kByWidth}) << ranks;
    EXPECT_EQ(signatures("narrow", ranks), Set{kByExpert}) << ranks;
  }
  // Whoever has the one expert that a token chose reads all of it.
  EXPECT_EQ(signatures("few", 2), Set{kWhole});
  // More ranks than experts.
  EXPECT_EQ(signatures("few", 3), Set{kWhole});
}

// Queries and keys stay where they are: of a norm over all heads only the sums of squares travel.
TEST(NormOverHeadsTest, RanksExchangeSumsOfSquares) {
  for (const char* name : {"wide", "grouped"}) {
    for (const int32_t ranks : {2, 3, 4}) {
      SCOPED_TRACE(absl::StrCat(name, " on ", ranks));
      std::set<std::string> moved;
      int norms = 0;
      const auto runner = Runner(MoeCaseOf(name), v1::BF16, ranks);
      for (const v1::Actor& actor : runner->plan().actors()) {
        if (actor.lane() == v1::EXCHANGE) moved.insert(actor.name());
        if (actor.kind() == v1::SQUARE_SUM) {
          EXPECT_EQ(actor.signature(), "(S(1), S(1)) -> P");
        }
        norms += actor.signature() == "(S(1), B, S(1)) -> S(1)";
      }
      EXPECT_EQ(norms, 2 * MoeCaseOf(name).model.layers);
      for (int block = 0; block < MoeCaseOf(name).model.layers; ++block) {
        EXPECT_EQ(moved.count(absl::StrCat("block.", block, ".square_sum.sum")), 1u);
        EXPECT_EQ(moved.count(absl::StrCat("block.", block, ".query.whole")), 0u);
        EXPECT_EQ(moved.count(absl::StrCat("block.", block, ".key.whole")), 0u);
      }
    }
  }
}

// As many rows in all, but other matrices.
TEST(MoeWeightsTest, OtherExpertsThanThePlansAreRefusedByName) {
  for (const int32_t ranks : {1, 2}) {
    ModelOptions options;
    options.ranks = ranks;
    options.cost.exchange_seconds = 0;
    options.cost.exchange_seconds_per_rank = 0;
    PlannedModel planned =
        PlanDescription("wide", MoeCaseOf("wide").model, v1::BF16, options).value();
    const loader::PackedWeights weights = GenerateModel(planned, /*seed=*/1).value();
    for (v1::Weight& w : *planned.plan.mutable_weights()) {
      if (w.name() == "block.1.expert_up") w.set_stack(4);
    }
    const absl::Status status =
        runtime::LocalExecutor::Create(planned.plan, weights, false).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(),
              absl::StrCat("weight block.1.expert_up: the plan has [4, ", ranks == 1 ? 192 : 64,
                           ", 64] bf16 of ", ranks == 1 ? 98304 : 32768,
                           " bytes, packed is [8, 96, 64] bf16 of 98304 bytes"));
  }
}

}  // namespace
}  // namespace mneme::testing
