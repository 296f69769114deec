#include "engine/runtime/step_message.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

constexpr StepLimits kLimits = {.max_tokens = 16,
                                .max_sequences = 3,
                                .max_logit_rows = 4,
                                .max_positions = 40,
                                .kv_blocks = 6,
                                .kv_block_tokens = 16};
constexpr int32_t kEmbeddingSize = 100;
// Of the words before the token ids.
constexpr size_t kTokens = 3;
constexpr size_t kSpans = 4;
constexpr size_t kHeaderWords = 7;

Step ExampleStep() {
  Step step(kLimits);
  step.number = 0x1234567890;
  step.AddSpan(1, 5, std::vector<int32_t>{7, 8, 99});
  step.AddSpan(0, 39, std::vector<int32_t>{4});
  step.AddLogitRow(2);
  step.AddLogitRow(3);
  step.AddBlockChange(1, 0, 5);
  return step;
}

std::vector<uint8_t> Message(const Step& step) {
  std::vector<uint8_t> bytes(StepMessageBytes(step));
  WriteStepMessage(step, bytes);
  return bytes;
}

std::vector<uint8_t> WithWord(std::vector<uint8_t> bytes, size_t word, int32_t value) {
  std::memcpy(bytes.data() + word * 4, &value, sizeof value);
  return bytes;
}

std::string Refusal(const std::vector<uint8_t>& bytes) {
  Step step = ExampleStep();
  const absl::Status status = ReadStepMessage(bytes, kLimits, kEmbeddingSize, &step);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(step.empty());
  return std::string(status.message());
}

template <class T>
std::vector<T> Vector(std::span<const T> values) {
  return {values.begin(), values.end()};
}

TEST(StepMessageTest, WhatIsWrittenIsRead) {
  const Step step = ExampleStep();
  const std::vector<uint8_t> bytes = Message(step);
  EXPECT_EQ(bytes.size(), 4 * (kHeaderWords + 4 + 2 * 3 + 2 + 3));
  EXPECT_LE(bytes.size(), MaxStepMessageBytes(kLimits));
  // From an odd address, into a step that holds something else.
  std::vector<uint8_t> shifted(bytes.size() + 1);
  std::memcpy(shifted.data() + 1, bytes.data(), bytes.size());
  Step read(kLimits);
  read.AddSpan(2, 0, std::vector<int32_t>{1});
  ASSERT_EQ(
      ReadStepMessage(std::span<const uint8_t>(shifted).subspan(1), kLimits, kEmbeddingSize, &read),
      absl::OkStatus());
  EXPECT_EQ(read.number, step.number);
  EXPECT_EQ(Vector(read.token_ids()), Vector(step.token_ids()));
  EXPECT_EQ(Vector(read.positions()), Vector(step.positions()));
  EXPECT_EQ(Vector(read.logit_rows()), Vector(step.logit_rows()));
  EXPECT_EQ(Message(read), bytes);
}

TEST(StepMessageTest, AnEmptyStepIsAHeader) {
  const Step step(kLimits);
  Step read(kLimits);
  EXPECT_EQ(Message(step).size(), 4 * kHeaderWords);
  EXPECT_EQ(ReadStepMessage(Message(step), kLimits, kEmbeddingSize, &read), absl::OkStatus());
  EXPECT_TRUE(read.empty());
}

TEST(StepMessageTest, WhatDoesNotFitIsRefusedByName) {
  const std::vector<uint8_t> good = Message(ExampleStep());
  std::vector<uint8_t> cut = good;
  cut.pop_back();
  EXPECT_EQ(Refusal(cut), "step message: has 87 bytes, its counts need 88");
  EXPECT_EQ(Refusal({1, 2}), "step message: has 2 bytes, its header needs 28");
  EXPECT_EQ(Refusal(WithWord(good, 0, 7)), "step message: begins with 7, not with 827543117");
  EXPECT_EQ(Refusal(WithWord(good, kTokens, 17)), "step message: 17 tokens, the plan takes 16");
  EXPECT_EQ(Refusal(WithWord(good, kSpans, -1)), "step message: -1 spans, the plan takes 3");
  EXPECT_EQ(Refusal(WithWord(good, kHeaderWords + 2, 100)),
            "step message: token id 100 of row 2 is not in [0, 100)");
  const size_t spans = kHeaderWords + 4;
  EXPECT_EQ(Refusal(WithWord(good, spans, 3)), "step message: span 0 is of sequence 3 of 3");
  EXPECT_EQ(Refusal(WithWord(good, spans + 1, 38)),
            "step message: span 0 has 3 rows from position 38 on, a sequence has 40");
  EXPECT_EQ(Refusal(WithWord(good, spans + 2, 5)),
            "step message: span 0 has 5 rows, 4 tokens are left");
  EXPECT_EQ(Refusal(WithWord(good, spans + 2, 2)), "step message: spans cover 3 of 4 tokens");
  EXPECT_EQ(Refusal(WithWord(good, spans + 6, 3)),
            "step message: logit row 3 after 3 in a step of 4");
  EXPECT_EQ(Refusal(WithWord(good, spans + 7, 4)),
            "step message: logit row 4 after 2 in a step of 4");
  EXPECT_EQ(Refusal(WithWord(good, spans + 10, 6)),
            "step message: block change (sequence 1, index 0, block 6) is outside (3, 3, 6)");
}

// Whatever is changed, a step is either refused or within the limits.
TEST(StepMessageTest, ChangedMessagesNeverLeaveTheLimits) {
  const std::vector<uint8_t> good = Message(ExampleStep());
  std::mt19937 random(1);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bytes = good;
    for (uint32_t n = 1 + random() % 3; n > 0; --n) {
      bytes =
          WithWord(bytes, random() % (bytes.size() / 4), static_cast<int32_t>(random() % 9) - 1);
    }
    Step step(kLimits);
    if (!ReadStepMessage(bytes, kLimits, kEmbeddingSize, &step).ok()) continue;
    ++accepted;
    EXPECT_EQ(Message(step), bytes);
    for (const StepSpan& span : step.spans()) {
      EXPECT_LE(span.first_position + span.rows, kLimits.max_positions);
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace mneme::runtime
