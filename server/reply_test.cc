#include "server/reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace mneme::server {
namespace {

using ::testing::ElementsAre;

class ScriptedGeneration : public Generation {
 public:
  bool Pop(OutputEvent* event) override {
    if (events.empty()) return false;
    *event = events.front();
    events.pop_front();
    return true;
  }
  bool done() const override { return events.empty(); }
  absl::Status status() const override { return absl::OkStatus(); }
  RequestUsage usage() const override { return {}; }
  void Cancel() override {}

  std::deque<OutputEvent> events;
};

OutputEvent Token(int32_t choice, int32_t id, std::string_view text) {
  OutputEvent event;
  event.choice = choice;
  event.token_id = id;
  event.text = text;
  return event;
}

OutputEvent Finish(int32_t choice, FinishReason reason, std::string_view text) {
  OutputEvent event;
  event.kind = OutputEvent::Kind::kFinish;
  event.choice = choice;
  event.finish = reason;
  event.text = text;
  return event;
}

TEST(ReplyWriterTest, BatchesWhatWaitsByChoice) {
  ScriptedGeneration generation;
  generation.events = {Token(0, 1, "a"), Token(2, 5, "x"), Token(0, 2, "b"),
                       Finish(2, FinishReason::kStop, "y")};
  generation.events.back().stop_string = "END";
  ReplyWriter writer("id", nullptr, false);
  v1::GenerateReply reply;
  ASSERT_TRUE(writer.Fill(&generation, &reply));
  EXPECT_EQ(reply.request_id(), "id");
  ASSERT_EQ(reply.choices_size(), 2);
  EXPECT_EQ(reply.choices(0).text(), "ab");
  EXPECT_THAT(reply.choices(0).token_ids(), ElementsAre(1, 2));
  EXPECT_EQ(reply.choices(0).finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_EQ(reply.choices(1).index(), 2);
  EXPECT_EQ(reply.choices(1).text(), "xy");
  EXPECT_EQ(reply.choices(1).finish_reason(), v1::STOP);
  EXPECT_EQ(reply.choices(1).stop_string(), "END");
  EXPECT_EQ(writer.FinishSummary(), "stop");

  // The next reply starts afresh.
  generation.events = {Token(2, 9, "z"), Finish(0, FinishReason::kLength, "")};
  ASSERT_TRUE(writer.Fill(&generation, &reply));
  ASSERT_EQ(reply.choices_size(), 2);
  EXPECT_EQ(reply.choices(0).index(), 2);
  EXPECT_EQ(reply.choices(0).text(), "z");
  EXPECT_EQ(reply.choices(0).finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_EQ(writer.FinishSummary(), "stop|length");
  EXPECT_FALSE(writer.Fill(&generation, &reply));
}

TEST(ReplyWriterTest, OneReplyIsBounded) {
  ScriptedGeneration generation;
  for (int i = 0; i < 1000; ++i) generation.events.push_back(Token(0, i, "t"));
  ReplyWriter writer("id", nullptr, false);
  v1::GenerateReply reply;
  int tokens = 0;
  int replies = 0;
  while (writer.Fill(&generation, &reply)) {
    EXPECT_LE(reply.choices(0).token_ids_size(), 256);
    tokens += reply.choices(0).token_ids_size();
    ++replies;
  }
  EXPECT_EQ(tokens, 1000);
  EXPECT_EQ(replies, 4);
}

TEST(ReplyWriterTest, PromptLogprobsStandApart) {
  ScriptedGeneration generation;
  const TokenLogprob top[] = {{3, -0.1f}, {4, -2.0f}};
  OutputEvent event = Token(0, 3, "");
  event.kind = OutputEvent::Kind::kPromptLogprob;
  event.has_logprob = true;
  event.logprob = -0.1f;
  event.top = top;
  generation.events = {event};
  ReplyWriter writer("id", nullptr, false);
  v1::GenerateReply reply;
  ASSERT_TRUE(writer.Fill(&generation, &reply));
  EXPECT_EQ(reply.choices_size(), 0);
  ASSERT_EQ(reply.prompt_logprobs_size(), 1);
  EXPECT_EQ(reply.prompt_logprobs(0).token().token_id(), 3);
  ASSERT_EQ(reply.prompt_logprobs(0).top_size(), 2);
  EXPECT_EQ(reply.prompt_logprobs(0).top(1).logprob(), -2.0f);
}

TEST(ReplyWriterTest, EveryTokenHasALogprobEntryWhenTheyWereAskedFor) {
  ScriptedGeneration generation;
  generation.events = {Token(0, 3, "a"), Token(0, 4, "b")};
  generation.events[1].has_logprob = true;
  generation.events[1].logprob = -1.5f;
  ReplyWriter writer("id", nullptr, true);
  v1::GenerateReply reply;
  ASSERT_TRUE(writer.Fill(&generation, &reply));
  ASSERT_EQ(reply.choices(0).logprobs_size(), 2);
  EXPECT_EQ(reply.choices(0).logprobs(0).token().token_id(), 3);
  // One of which nothing was computed is not one of probability 1.
  EXPECT_FALSE(reply.choices(0).logprobs(0).token().has_logprob());
  EXPECT_EQ(reply.choices(0).logprobs(1).token().logprob(), -1.5f);
}

TEST(ReplyWriterTest, AStopTokenIsNamed) {
  ScriptedGeneration generation;
  OutputEvent event = Finish(0, FinishReason::kStop, "");
  event.stop_token_id = 0;
  generation.events = {event};
  ReplyWriter writer("id", nullptr, false);
  v1::GenerateReply reply;
  ASSERT_TRUE(writer.Fill(&generation, &reply));
  EXPECT_TRUE(reply.choices(0).has_stop_token_id());
  EXPECT_EQ(reply.choices(0).stop_token_id(), 0);
}

}  // namespace
}  // namespace mneme::server
