#include "server/request.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

namespace mneme::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(ToEngineRequestTest, CarriesEveryField) {
  v1::GenerateRequest wire;
  wire.set_request_id("r");
  v1::SamplingParams* sampling = wire.mutable_sampling();
  sampling->set_temperature(0.5f);
  sampling->set_top_p(0.9f);
  sampling->set_top_k(40);
  sampling->set_min_p(0.05f);
  sampling->set_repetition_penalty(1.1f);
  sampling->set_presence_penalty(0.2f);
  sampling->set_frequency_penalty(-0.3f);
  sampling->set_seed(99);
  (*sampling->mutable_logit_bias())[3] = -100;
  (*sampling->mutable_logit_bias())[4] = 2;
  v1::StopParams* stopping = wire.mutable_stopping();
  stopping->set_max_tokens(7);
  stopping->set_min_tokens(2);
  stopping->add_stop("x");
  stopping->add_stop_token_ids(11);
  stopping->set_ignore_eos(true);
  stopping->set_include_stop_str_in_output(true);
  wire.set_logprobs(0);
  wire.set_prompt_logprobs(5);
  wire.set_n(3);
  wire.set_echo(true);
  wire.set_skip_special_tokens(false);
  wire.set_token_ids_only(true);
  const absl::StatusOr<GenerateRequest> request = ToEngineRequest(wire, {}, "made-up");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->id, "r");
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.top_p, 0.9f);
  EXPECT_EQ(request->sampling.top_k, 40);
  EXPECT_EQ(request->sampling.min_p, 0.05f);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(request->sampling.presence_penalty, 0.2f);
  EXPECT_EQ(request->sampling.frequency_penalty, -0.3f);
  EXPECT_EQ(request->sampling.seed, 99u);
  EXPECT_THAT(request->sampling.logit_bias, UnorderedElementsAre(Pair(3, -100.0f), Pair(4, 2.0f)));
  EXPECT_EQ(request->max_tokens, 7);
  EXPECT_FALSE(request->default_max_tokens.has_value());
  EXPECT_EQ(request->min_tokens, 2);
  EXPECT_THAT(request->stop, ElementsAre("x"));
  EXPECT_THAT(request->stop_token_ids, ElementsAre(11));
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_TRUE(request->include_stop_str_in_output);
  EXPECT_EQ(request->logprobs, 0);
  EXPECT_EQ(request->prompt_logprobs, 5);
  EXPECT_EQ(request->n, 3);
  EXPECT_TRUE(request->echo);
  EXPECT_FALSE(request->skip_special_tokens);
  EXPECT_FALSE(request->text);
  EXPECT_FALSE(request->all_logits);
}

TEST(ToEngineRequestTest, AbsentFieldsStayAbsentOrTakeTheDefault) {
  RequestDefaults defaults;
  defaults.sampling.set_temperature(0.7f);
  defaults.sampling.set_top_p(0.8f);
  defaults.max_tokens = 12;
  v1::GenerateRequest wire;
  wire.mutable_sampling()->set_top_p(1.0f);
  const absl::StatusOr<GenerateRequest> request = ToEngineRequest(wire, defaults, "made-up");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->id, "made-up");
  EXPECT_EQ(request->sampling.temperature, 0.7f);
  EXPECT_EQ(request->sampling.top_p, 1.0f);
  EXPECT_EQ(request->sampling.top_k, 0);
  EXPECT_FALSE(request->sampling.seed.has_value());
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_EQ(request->default_max_tokens, 12);
  EXPECT_FALSE(request->logprobs.has_value());
  EXPECT_EQ(request->n, 1);
  EXPECT_TRUE(request->skip_special_tokens);
  EXPECT_TRUE(request->text);
}

std::string Peek(const std::string& bytes) {
  google::protobuf::io::ArrayInputStream in(bytes.data(), static_cast<int>(bytes.size()), 3);
  return PeekRequestId(&in);
}

TEST(PeekRequestIdTest, FindsTheIdWhereverItStands) {
  v1::GenerateRequest first;
  first.set_request_id("mine");
  v1::GenerateRequest rest;
  rest.set_text("some text");
  rest.mutable_sampling()->set_temperature(1);
  rest.set_n(3);
  EXPECT_EQ(Peek(first.SerializeAsString() + rest.SerializeAsString()), "mine");
  EXPECT_EQ(Peek(rest.SerializeAsString() + first.SerializeAsString()), "mine");
  EXPECT_EQ(Peek(rest.SerializeAsString()), "");
}

TEST(PeekRequestIdTest, NothingOfWhatIsNoRequestOrTooLong) {
  v1::GenerateRequest request;
  request.set_request_id(std::string(kMaxRequestIdBytes, 'x'));
  EXPECT_EQ(Peek(request.SerializeAsString()).size(), 128u);
  request.set_request_id(std::string(kMaxRequestIdBytes + 1, 'x'));
  EXPECT_EQ(Peek(request.SerializeAsString()), "");
  EXPECT_EQ(Peek("\x0a\x05mi"), "");
  EXPECT_EQ(Peek("\x0a\xff\xff\xff\xff\xff"), "");
  EXPECT_EQ(Peek("\x0f"), "");
}

class FillPromptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = loader::Tokenizer::Load("models/demo/ultramem");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }

  absl::Status Fill(const v1::GenerateRequest& wire, int32_t limit = 100) {
    return FillPrompt(wire, tokenizer_.get(), {.max_prompt_tokens = limit}, &out_);
  }

  std::unique_ptr<loader::Tokenizer> tokenizer_;
  GenerateRequest out_;
};

TEST_F(FillPromptTest, TokenizesText) {
  v1::GenerateRequest wire;
  wire.set_text("hacker: n.");
  ASSERT_TRUE(Fill(wire).ok());
  EXPECT_THAT(out_.prompt, ElementsAre(3349, 59, 292, 47));
}

TEST_F(FillPromptTest, TheLimitCountsTokens) {
  v1::GenerateRequest wire;
  wire.set_text("hacker: n.");
  EXPECT_TRUE(Fill(wire, 4).ok());
  const absl::Status status = Fill(wire, 3);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "text: more than 3 tokens, which is the limit");
}

TEST_F(FillPromptTest, ATextNeedsATokenizer) {
  tokenizer_.reset();
  v1::GenerateRequest wire;
  wire.set_text("x");
  const absl::Status status = Fill(wire);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "text: the model has no tokenizer; send the prompt as token_ids");
}

TEST_F(FillPromptTest, AnEmptyTextIsRefused) {
  v1::GenerateRequest wire;
  wire.set_text("");
  EXPECT_EQ(Fill(wire).message(), "text: the prompt has no tokens");
}

TEST_F(FillPromptTest, IdsAreUsedAsTheyAre) {
  v1::GenerateRequest wire;
  wire.mutable_token_ids()->add_ids(-5);
  ASSERT_TRUE(Fill(wire).ok());
  EXPECT_THAT(out_.prompt, ElementsAre(-5));
}

}  // namespace
}  // namespace mneme::server
