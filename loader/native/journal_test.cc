#include "loader/native/journal.h"

#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

Journal Example() {
  Journal journal;
  journal.conversion = "0123456789abcdef0123456789abcdef";
  journal.source = {
      {"config.yaml", 10, "2026-01-31T23:59:59.123456789Z", "0123456789abcdef"},
      {"model.safetensors", 1000, "2026-02-01T00:00:00.000000000Z", "fedcba9876543210"}};
  journal.dtype = Manifest::DType::kBf16;
  journal.ignored_config_keys = {"a", "b"};
  journal.shard_bytes = 4096;
  journal.shards = 3;
  journal.finished[1] = {{"0123456789abcdef"}, {"0123456789abcdef", "fedcba9876543210"}};
  journal.finished[3] = {};
  return journal;
}

TEST(JournalTest, ParsesWhatItPrints) {
  const auto parsed = Journal::Parse(Example().Print(), "j.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, Example());
}

TEST(JournalTest, WhatIsNoJournalIsRefused) {
  const auto refusal = [](const std::string& text) {
    const auto journal = Journal::Parse(text, "j.json");
    return journal.ok() ? "accepted" : std::string(journal.status().message());
  };
  EXPECT_THAT(refusal(""), HasSubstr("j.json"));
  EXPECT_EQ(refusal("[]"), "j.json: expected an object, found an array");
  EXPECT_EQ(refusal(R"({"format":"mneme"})"),
            "j.json: format: expected \"mneme conversion\", found \"mneme\"");
  EXPECT_EQ(refusal(R"({"format":"mneme conversion","version":2})"),
            "j.json: version 2 is newer than this build reads (1)");
  std::string more = Example().Print();
  EXPECT_EQ(refusal(more.insert(1, "\"foo\":0,")), "j.json: unknown member \"foo\" = 0");
  Journal journal = Example();
  journal.shards = 2;
  EXPECT_EQ(refusal(journal.Print()),
            "j.json: finished[1].shard: shard 3 of 2 is none, or listed twice");
  journal = Example();
  journal.finished[1][0][0] = "0123";
  EXPECT_EQ(refusal(journal.Print()),
            "j.json: finished[0].checksums[0][0]: expected 16 lower-case hexadecimal digits, found "
            "\"0123\"");
}

TEST(JournalTest, DifferencesNameBothValues) {
  const auto difference = [](const std::function<void(Journal&)>& change) {
    Journal now = Example();
    change(now);
    return JournalDifference(Example(), now);
  };
  EXPECT_EQ(difference([](Journal& j) { j.finished.clear(); }), "");
  EXPECT_EQ(difference([](Journal& j) { j.source[1].bytes = 1001; }),
            "model.safetensors: bytes: 1000 when the conversion began, 1001 now");
  EXPECT_EQ(
      difference([](Journal& j) { j.source[1].modified = "2026-02-02T00:00:00.000000000Z"; }),
      "model.safetensors: modified: 2026-02-01T00:00:00.000000000Z when the conversion began, "
      "2026-02-02T00:00:00.000000000Z now");
  EXPECT_EQ(difference([](Journal& j) { j.source[0].hash = "0000000000000000"; }),
            "config.yaml: hash: 0123456789abcdef when the conversion began, 0000000000000000 now");
  EXPECT_EQ(
      difference([](Journal& j) { j.source.pop_back(); }),
      "source files: config.yaml model.safetensors when the conversion began, config.yaml now");
  EXPECT_EQ(difference([](Journal& j) { j.dtype = Manifest::DType::kF32; }),
            "--dtype: bf16 when the conversion began, f32 now");
  EXPECT_EQ(difference([](Journal& j) { j.ignored_config_keys.pop_back(); }),
            "ignored config keys: [a b] when the conversion began, [a] now");
  EXPECT_EQ(difference([](Journal& j) { j.shard_bytes = 8192; }),
            "bytes of a shard: 4096 when the conversion began, 8192 now");
  EXPECT_THAT(difference([](Journal& j) { j.conversion[0] = 'f'; }), HasSubstr("conversion: 0123"));
  EXPECT_EQ(difference([](Journal& j) { j.shards = 4; }),
            "shards: 3 when the conversion began, 4 now");
}

}  // namespace
}  // namespace mneme::loader
