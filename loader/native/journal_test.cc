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
  EXPECT_EQ(refusal(R"({"format":"mneme conversion","version":3})"),
            "j.json: version 3 is newer than this build reads (2)");
  EXPECT_EQ(refusal(R"({"format":"mneme conversion","version":1})"),
            "j.json: version 1 is of an earlier build, this one goes on with version 2");
  std::string more = Example().Print();
  EXPECT_EQ(refusal(more.insert(1, "\"foo\":0,")), "j.json: unknown member \"foo\" = 0");
  Journal journal = Example();
  journal.shards = 2;
  EXPECT_EQ(refusal(journal.Print()), "j.json:3: shard: shard 3 of 2 is none, or listed twice");
  EXPECT_EQ(refusal(Example().Print() + Journal::PrintFinished(1, {})),
            "j.json:4: shard: shard 1 of 3 is none, or listed twice");
  journal = Example();
  journal.finished[1][0][0] = "0123";
  EXPECT_EQ(refusal(journal.Print()),
            "j.json:2: checksums[0][0]: expected 16 lower-case hexadecimal digits, found "
            "\"0123\"");
}

TEST(JournalTest, ALineThatACrashToreIsNotThere) {
  Journal before = Example();
  before.finished.erase(3);
  const std::string whole = before.Print();
  const std::string line = Journal::PrintFinished(3, {{"0123456789abcdef"}});
  ASSERT_EQ(line.back(), '\n');
  const auto expect = [&](const std::string& text, const Journal& want) {
    const auto parsed = Journal::Parse(text, "j.json");
    ASSERT_TRUE(parsed.ok()) << parsed.status() << text;
    EXPECT_EQ(*parsed, want) << text;
  };
  for (size_t size = 0; size < line.size(); ++size) expect(whole + line.substr(0, size), before);
  // Its end has come to the disk, its beginning has not.
  expect(whole + std::string(line.size() - 1, '\0') + "\n", before);
  Journal after = before;
  after.finished[3] = {{"0123456789abcdef"}};
  expect(whole + line, after);
  // Behind it there would be nothing.
  EXPECT_FALSE(Journal::Parse(whole + "{\n" + line, "j.json").ok());
}

TEST(JournalTest, ALineIsWhatTheWholeTextEndsIn) {
  Journal journal = Example();
  const std::string last = Journal::PrintFinished(3, journal.finished.at(3));
  const std::string text = journal.Print();
  journal.finished.erase(3);
  EXPECT_EQ(text, journal.Print() + last);
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
  EXPECT_EQ(difference([](Journal& j) { j.source.pop_back(); }),
            "model.safetensors: a source file when the conversion began, none now");
  EXPECT_EQ(difference([](Journal& j) {
              j.source.push_back({"tokenizer.json", 1, "", ""});
            }),
            "tokenizer.json: no source file when the conversion began, one now");
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

TEST(JournalTest, DifferencesFromACompleteOneNameBothValues) {
  const Journal then = Example();
  Manifest manifest;
  manifest.conversion = then.conversion;
  for (const JournalSource& file : then.source) {
    manifest.source.push_back({file.name, file.bytes, file.hash});
  }
  manifest.dtype = then.dtype;
  manifest.ignored_config_keys = then.ignored_config_keys;
  const auto difference = [&](const std::function<void(Journal&)>& change) {
    Journal now = then;
    now.conversion[0] = 'f';
    change(now);
    return ManifestDifference(manifest, now);
  };
  EXPECT_EQ(ManifestDifference(manifest, then), "");
  EXPECT_EQ(difference([](Journal& j) { j.source[1].bytes = 1001; }),
            "model.safetensors: bytes: 1000 when it was converted, 1001 now");
  EXPECT_EQ(
      difference([](Journal& j) { j.source[1].hash = "0000000000000000"; }),
      "model.safetensors: hash: fedcba9876543210 when it was converted, 0000000000000000 now");
  EXPECT_EQ(difference([](Journal& j) { j.source.erase(j.source.begin()); }),
            "config.yaml: a source file when it was converted, none now");
  EXPECT_EQ(difference([](Journal& j) { j.dtype = Manifest::DType::kF32; }),
            "--dtype: bf16 when it was converted, f32 now");
  EXPECT_EQ(difference([](Journal& j) { j.ignored_config_keys = {"a"}; }),
            "ignored config keys: [a b] when it was converted, [a] now");
  EXPECT_THAT(difference([](Journal& j) { j.shard_bytes = 1; }),
              HasSubstr("conversion (another --shard-mb, or another version): 0123"));
}

}  // namespace
}  // namespace mneme::loader
