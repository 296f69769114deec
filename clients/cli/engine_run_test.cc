#include "clients/cli/engine_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/test_engine.h"

namespace mneme::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GenerateRequest Request(std::vector<int32_t> prompt, int32_t max_tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

TEST(RunOnEngineTest, GivesEveryOutputInOrder) {
  server::TestEngine engine({.token_period = std::chrono::microseconds(20)});
  std::vector<GenerateRequest> requests;
  // More than run at a time.
  for (int32_t i = 0; i < 300; ++i) requests.push_back(Request({i, i + 1}, i % 5));
  const auto outputs = RunOnEngine(&engine, std::move(requests));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->size(), 300u);
  for (int32_t i = 0; i < 300; ++i) EXPECT_EQ((*outputs)[i].size(), static_cast<size_t>(i % 5));
  EXPECT_THAT((*outputs)[4], ElementsAre(4, 5, 4, 5));
  EXPECT_EQ(engine.live_generations(), 0);
}

TEST(RunOnEngineTest, TheFirstErrorEndsIt) {
  server::TestEngine engine({});
  std::vector<GenerateRequest> requests = {Request({1}, 2), Request({server::kPoisonToken}, 5)};
  EXPECT_EQ(RunOnEngine(&engine, std::move(requests)).status().message(),
            "step 3 failed: poisoned");
  requests = {Request({1}, 2), Request({1}, 2)};
  requests[1].n = 0;
  EXPECT_THAT(std::string(RunOnEngine(&engine, std::move(requests)).status().message()),
              HasSubstr("sequence 1: n: 0"));
  EXPECT_EQ(engine.live_generations(), 0);
}

// The observer hands the executor on and does not look at it.
class UnusedExecutor : public runtime::Executor {
 public:
  const runtime::StepLimits& limits() const override { return limits_; }
  runtime::Step* NextStep() override { return nullptr; }
  void Submit() override {}
  const runtime::StepResult& Wait() override { return result_; }
  void Release() override {}
  const runtime::Step& finished_step() const override { return step_; }
  kernels::TensorView Trace(std::string_view) const override { return {}; }

 private:
  runtime::StepLimits limits_{.kv_block_tokens = 16};
  runtime::StepResult result_;
  runtime::Step step_{limits_};
};

class Recorder : public TokenObserver {
 public:
  Recorder() : TokenObserver("eval-") {}
  void OnToken(const Token& token, const runtime::Executor&) override { seen.push_back(token); }
  std::vector<Token> seen;
};

TEST(TokenObserverTest, FindsEachTokensLogitsAcrossSpans) {
  runtime::Step step({.max_tokens = 8,
                      .max_sequences = 4,
                      .max_logit_rows = 8,
                      .max_positions = 32,
                      .kv_blocks = 4,
                      .kv_block_tokens = 16});
  const std::vector<int32_t> three = {1, 2, 3};
  const std::vector<int32_t> one = {9};
  const std::vector<int32_t> two = {4, 5};
  step.AddSpan(0, 7, three);
  step.AddSpan(1, 0, one);
  step.AddSpan(2, 0, two);
  step.AddLogitRow(2);
  step.AddLogitRow(3);
  step.AddLogitRow(4);
  const std::vector<float> logits = {20, 21, 30, 31, 40, 41};
  runtime::StepResult result;
  result.logits = kernels::MakeMatrix(logits.data(), 3, 2);
  const std::vector<std::string_view> ids = {"eval-3", "greedy-0", "eval-12"};
  Recorder recorder;
  const UnusedExecutor executor;
  static_cast<StepObserver&>(recorder).OnStep(step, result, executor, ids);
  ASSERT_EQ(recorder.seen.size(), 5u);
  EXPECT_EQ(recorder.seen[0].request, 3);
  EXPECT_EQ(recorder.seen[0].position, 7);
  EXPECT_TRUE(recorder.seen[0].logits.empty());
  EXPECT_EQ(recorder.seen[2].position, 9);
  EXPECT_THAT(recorder.seen[2].logits, ElementsAre(20, 21));
  EXPECT_EQ(recorder.seen[3].request, 12);
  EXPECT_EQ(recorder.seen[3].row, 4);
  EXPECT_THAT(recorder.seen[3].logits, ElementsAre(40, 41));
  EXPECT_TRUE(recorder.seen[4].logits.empty());
}

}  // namespace
}  // namespace mneme::cli
