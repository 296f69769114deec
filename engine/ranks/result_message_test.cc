#include "engine/ranks/result_message.h"

#include <random>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

struct Example {
  std::vector<double> rows = {1, 2.5, 3};
  std::vector<double> experts = {7, 8, 9};
  std::vector<double> kv = {4, 5, 6};
  runtime::StepResult result;

  Example() {
    result.traffic.Read(kernels::TrafficClass::kKeys, 123);
    result.logit_traffic.Write(kernels::TrafficClass::kExchange, 7);
    result.step_seconds = 0.5;
    result.runtime_seconds = 0.25;
    result.token_value_row_bytes = rows;
    result.token_expert_bytes = experts;
    result.token_kv_bytes = kv;
  }
};

TEST(ResultMessageTest, SaysAllOfAResult) {
  const Example example;
  std::vector<uint8_t> message;
  WriteResultMessage(42, example.result, &message);
  EXPECT_LE(message.size(), MaxResultMessageBytes(3));
  RankResult result;
  ASSERT_TRUE(ReadResultMessage(message, 3, &result).ok());
  EXPECT_EQ(result.step, 42u);
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.traffic, example.result.traffic);
  EXPECT_EQ(result.logit_traffic, example.result.logit_traffic);
  EXPECT_EQ(result.step_seconds, 0.5);
  EXPECT_EQ(result.runtime_seconds, 0.25);
  EXPECT_EQ(result.token_value_row_bytes, example.rows);
  EXPECT_EQ(result.token_expert_bytes, example.experts);
  EXPECT_EQ(result.token_kv_bytes, example.kv);
}

TEST(ResultMessageTest, SaysWhyAStepFailed) {
  Example example;
  example.result.status = absl::UnavailableError(std::string(5000, 'x'));
  std::vector<uint8_t> message;
  WriteResultMessage(1, example.result, &message);
  EXPECT_LE(message.size(), MaxResultMessageBytes(1));
  RankResult result;
  ASSERT_TRUE(ReadResultMessage(message, 1, &result).ok());
  EXPECT_EQ(result.status, absl::UnavailableError(std::string(1024, 'x')));
  EXPECT_TRUE(result.token_kv_bytes.empty());
}

TEST(ResultMessageTest, WhatDoesNotFitIsRefused) {
  const Example example;
  std::vector<uint8_t> message;
  WriteResultMessage(42, example.result, &message);
  RankResult result;
  EXPECT_FALSE(ReadResultMessage(message, 2, &result).ok());
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(ReadResultMessage(std::span(message).first(size), 3, &result).ok()) << size;
  }
  message.push_back(0);
  EXPECT_FALSE(ReadResultMessage(message, 3, &result).ok());
  message.pop_back();
  // Whatever is changed: an error or another result, no crash.
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<uint8_t> changed = message;
    for (int i = 0; i < 3; ++i) changed[random() % 24] = static_cast<uint8_t>(random());
    if (ReadResultMessage(changed, 3, &result).ok()) {
      EXPECT_LE(result.token_kv_bytes.size(), 3u);
    }
  }
}

}  // namespace
}  // namespace mneme::ranks
