#include "clients/cli/generate_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace mneme::cli {
namespace {

using ::testing::ElementsAre;

TEST(ToJsonTest, HasWhatWasPromised) {
  client::GenerateResult result;
  result.request_id = "r";
  result.choices.resize(1);
  result.choices[0].text = "hi";
  result.choices[0].token_ids = {4, 5};
  result.choices[0].finish_reason = v1::STOP;
  result.choices[0].stop_token_id = 0;
  result.usage.set_prompt_tokens(3);
  result.usage.set_output_tokens(2);
  v1::Traffic::Class* traffic = result.usage.mutable_traffic()->add_classes();
  traffic->set_name("keys");
  traffic->set_read_bytes(100);
  StreamClock clock;
  clock.Start();
  clock.OnTokens(1);
  clock.OnTokens(1);
  clock.Stop();
  const nlohmann::ordered_json json = ToJson(result, clock);
  EXPECT_EQ(json["text"], "hi");
  EXPECT_EQ(json["token_ids"], (std::vector<int>{4, 5}));
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_EQ(json["stop_token_id"], 0);
  EXPECT_EQ(json["request_id"], "r");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(json["traffic"]["keys"]["read_bytes"], 100);
  EXPECT_GE(json["timing"]["total_seconds"], 0);
  EXPECT_FALSE(json.contains("choices"));
  EXPECT_FALSE(json.contains("logprobs"));

  result.choices.resize(2);
  EXPECT_EQ(ToJson(result, clock)["choices"].size(), 2u);
}

TEST(StreamClockTest, GapsAreSharedByTheTokensOfOneReply) {
  StreamClock clock;
  clock.Start();
  clock.OnTokens(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  clock.OnTokens(4);
  clock.Stop();
  const std::vector<double> gaps = clock.inter_token_seconds();
  ASSERT_EQ(gaps.size(), 5u);
  EXPECT_EQ(gaps[0], 0);
  EXPECT_GE(gaps[1], 0.005);
  EXPECT_EQ(gaps[1], gaps[4]);
  EXPECT_GT(clock.tokens_per_second(), 0);
  EXPECT_LE(clock.tokens_per_second(), 5 / 0.02);
  EXPECT_GE(clock.total(), 0.02);
}

TEST(DecodeRateTest, LeavesOutEachChoicesFirstToken) {
  client::GenerateResult result;
  EXPECT_EQ(DecodeRate(result), 0);
  result.choices.resize(2);
  result.usage.set_output_tokens(2);
  result.usage.set_decode_seconds(0.5);
  EXPECT_EQ(DecodeRate(result), 0);
  result.usage.set_output_tokens(12);
  EXPECT_EQ(DecodeRate(result), 20);
}

TEST(QuantileTest, InterpolatesBetweenNeighbours) {
  EXPECT_EQ(Quantile({}, 0.5), 0);
  EXPECT_EQ(Quantile({3}, 0.99), 3);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_EQ(Quantile({1, 2, 3}, 1.0), 3);
}

}  // namespace
}  // namespace mneme::cli
