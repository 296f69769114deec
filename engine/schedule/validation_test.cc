#include "engine/schedule/validation.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

using testing::HasSubstr;

ServingLimits Limits() {
  ServingLimits limits;
  limits.vocab_size = 100;
  limits.context = 1024;
  limits.kv_tokens = 4096;
  limits.has_tokenizer = true;
  limits.eos_token_ids = {0, 200};
  return limits;
}

GenerateRequest Plain() {
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 10;
  return request;
}

TEST(ValidationTest, ResolvesWhatIsAbsent) {
  GenerateRequest request = Plain();
  request.max_tokens.reset();
  request.stop_token_ids = {7};
  const auto resolved = Resolve(request, Limits());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->max_tokens, 1021);
  // An eos id beyond the vocabulary can never be drawn.
  EXPECT_EQ(resolved->stop_ids, (std::vector<int32_t>{0, 7}));
  EXPECT_EQ(resolved->suppressed_ids, (std::vector<int32_t>{0, 7}));
  request.ignore_eos = true;
  EXPECT_EQ(Resolve(request, Limits())->stop_ids, std::vector<int32_t>{7});
  // Before min_tokens an eos is not drawn even if it would not stop the output.
  EXPECT_EQ(Resolve(request, Limits())->suppressed_ids, (std::vector<int32_t>{0, 7}));
  EXPECT_NE(Resolve(request, Limits())->seed, Resolve(request, Limits())->seed);
  request.sampling.seed = 0;
  EXPECT_EQ(Resolve(request, Limits())->seed, 0u);
}

TEST(ValidationTest, ASmallKvCacheBoundsTheDefaultToo) {
  ServingLimits limits = Limits();
  limits.kv_tokens = 64;
  GenerateRequest request = Plain();
  request.max_tokens.reset();
  // The last token's KV is never needed.
  EXPECT_EQ(Resolve(request, limits)->max_tokens, 62);
}

TEST(ValidationTest, TheModelsDefaultOfMaxTokensFitsWhatIsLeft) {
  GenerateRequest request = Plain();
  request.default_max_tokens = 50;
  EXPECT_EQ(Resolve(request, Limits())->max_tokens, 10);
  request.max_tokens.reset();
  EXPECT_EQ(Resolve(request, Limits())->max_tokens, 50);
  // It is no wish of the request's, so neither a small context nor min_tokens contradicts it.
  request.min_tokens = 60;
  EXPECT_EQ(Resolve(request, Limits())->max_tokens, 60);
  request.min_tokens = 0;
  request.default_max_tokens = 5000;
  EXPECT_EQ(Resolve(request, Limits())->max_tokens, 1021);
  ServingLimits small = Limits();
  small.kv_tokens = 64;
  EXPECT_EQ(Resolve(request, small)->max_tokens, 62);
}

struct Refusal {
  std::function<void(GenerateRequest*)> change;
  std::string message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

TEST(ValidationTest, RefusesWithFieldAndValue) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto exhausted = absl::StatusCode::kResourceExhausted;
  const std::vector<Refusal> refusals = {
      {[](auto* r) { r->id = std::string(129, 'x'); }, "request_id: 129 bytes"},
      {[](auto* r) { r->prompt.clear(); }, "prompt: empty"},
      {[](auto* r) { r->prompt[1] = 100; }, "prompt: id 100 at position 1 is not in [0, 100)"},
      {[](auto* r) { r->prompt[2] = -1; }, "prompt: id -1 at position 2"},
      {[](auto* r) { r->prompt.assign(1025, 1); },
       "prompt: 1025 tokens, but the context holds 1024", exhausted},
      {[](auto* r) { r->prompt.assign(812, 1), r->max_tokens = 300; },
       "max_tokens: 300 asked, but the context of 1024 leaves 212 after a prompt of 812 tokens"},
      {[](auto* r) { r->max_tokens = -1; }, "max_tokens: -1"},
      {[](auto* r) { r->default_max_tokens = -1; }, "default_max_tokens: -1 is negative"},
      {[](auto* r) { r->max_tokens = std::numeric_limits<int32_t>::max(); },
       "max_tokens: 2147483647"},
      {[](auto* r) { r->min_tokens = -2; }, "min_tokens: -2"},
      {[](auto* r) { r->min_tokens = 11; }, "min_tokens: 11 is more than max_tokens, which is 10"},
      {[](auto* r) { r->sampling.temperature = -0.5f; }, "temperature: -0.5"},
      {[nan](auto* r) { r->sampling.temperature = nan; }, "temperature: nan"},
      {[inf](auto* r) { r->sampling.temperature = inf; }, "temperature: inf"},
      {[](auto* r) { r->sampling.top_p = 0; }, "top_p: 0 is not in (0, 1]"},
      {[](auto* r) { r->sampling.top_p = 1.5f; }, "top_p: 1.5"},
      {[nan](auto* r) { r->sampling.top_p = nan; }, "top_p: nan"},
      {[](auto* r) { r->sampling.top_k = -2; }, "top_k: -2"},
      {[](auto* r) { r->sampling.min_p = 1.25f; }, "min_p: 1.25 is not in [0, 1]"},
      {[](auto* r) { r->sampling.repetition_penalty = 0; }, "repetition_penalty: 0"},
      {[nan](auto* r) { r->sampling.repetition_penalty = nan; }, "repetition_penalty: nan"},
      {[](auto* r) { r->sampling.presence_penalty = 2.5f; }, "presence_penalty: 2.5"},
      {[](auto* r) { r->sampling.frequency_penalty = -3; }, "frequency_penalty: -3"},
      {[](auto* r) {
         r->sampling.logit_bias = {{100, 1.0f}};
       },
       "logit_bias: id 100"},
      {[](auto* r) {
         r->sampling.logit_bias = {{5, 101.0f}};
       },
       "logit_bias: 101 of id 5"},
      {[](auto* r) {
         r->sampling.logit_bias.assign(1025, {1, 0.0f});
       },
       "logit_bias: 1025 entries"},
      {[](auto* r) { r->stop.assign(17, "x"); }, "stop: 17 strings"},
      {[](auto* r) { r->stop = {""}; }, "stop: a string of 0 bytes"},
      {[](auto* r) { r->stop = {std::string(257, 'x')}; }, "stop: a string of 257 bytes"},
      {[](auto* r) { r->stop_token_ids.assign(65, 1); }, "stop_token_ids: 65 ids"},
      {[](auto* r) { r->stop_token_ids = {-1}; }, "stop_token_ids: id -1"},
      {[](auto* r) { r->logprobs = 21; }, "logprobs: 21 is not in [0, 20]"},
      {[](auto* r) { r->prompt_logprobs = -1; }, "prompt_logprobs: -1"},
      {[](auto* r) { r->n = 0; }, "n: 0 is not in [1, 64]"},
      {[](auto* r) { r->n = 65; }, "n: 65"},
  };
  for (const Refusal& refusal : refusals) {
    GenerateRequest request = Plain();
    refusal.change(&request);
    const auto resolved = Resolve(request, Limits());
    ASSERT_FALSE(resolved.ok()) << refusal.message;
    EXPECT_EQ(resolved.status().code(), refusal.code) << refusal.message;
    EXPECT_THAT(std::string(resolved.status().message()), HasSubstr(refusal.message));
  }
}

TEST(ValidationTest, RefusesWhatTheKvCacheCanNeverHold) {
  ServingLimits limits = Limits();
  limits.kv_tokens = 64;
  GenerateRequest request = Plain();
  request.prompt.assign(60, 1);
  request.max_tokens = 6;
  EXPECT_EQ(Resolve(request, limits).status().message(),
            "max_tokens: 6 asked, but the KV cache of 64 positions leaves 5 after a prompt of 60 "
            "tokens");
  request.max_tokens = 5;
  EXPECT_TRUE(Resolve(request, limits).ok());
  request.prompt.assign(65, 1);
  request.max_tokens = 0;
  EXPECT_EQ(Resolve(request, limits).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ValidationTest, StopStringsNeedATokenizer) {
  ServingLimits limits = Limits();
  limits.has_tokenizer = false;
  GenerateRequest request = Plain();
  request.stop = {"a", "b"};
  EXPECT_EQ(Resolve(request, limits).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Resolve(request, limits).status().message()),
              HasSubstr("stop: 2 strings asked for, but the model has no tokenizer"));
}

TEST(ValidationTest, TheEdgesOfEveryRangeAreAllowed) {
  GenerateRequest request = Plain();
  request.id = std::string(128, 'x');
  request.sampling.top_k = -1;
  request.sampling.min_p = 1;
  request.sampling.presence_penalty = -2;
  request.sampling.frequency_penalty = 2;
  request.sampling.logit_bias = {{99, -100.0f}, {0, 100.0f}};
  request.stop.assign(16, std::string(256, 'y'));
  request.stop_token_ids.assign(64, 99);
  request.logprobs = 20;
  request.prompt_logprobs = 0;
  request.n = 64;
  request.max_tokens = 1021;
  request.min_tokens = 1021;
  EXPECT_TRUE(Resolve(request, Limits()).ok()) << Resolve(request, Limits()).status();
}

}  // namespace
}  // namespace mneme::schedule
