#include "loader/native/manifest.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

// One weight of each packing, a tied one, and a table in two blocks.
Manifest Example() {
  const std::string sum = "0123456789abcdef";
  Manifest m;
  m.conversion = "0123456789abcdef0123456789abcdef";
  m.source = {{"config.yaml", 10, sum}, {"my weights.safetensors", 1000, sum}};
  m.dtype = Manifest::DType::kBf16;
  m.ignored_config_keys = {"rope.factor"};
  m.config = "config.yaml";
  m.copies = {{"config.yaml", 10, sum}, {"tokenizer.json", 20, sum}};
  m.shards = {{"model-00001-of-00002.safetensors", 2 * kMiB + 64 * kMiB + 192, 4096, sum},
              {"model-00002-of-00002.safetensors", 2 * kMiB + 128, 4096, sum}};
  ManifestWeight matrix{
      .name = "embedding", .dtype = StoredDType::kBf16, .rows = 4, .cols = 16, .block_rows = 4};
  matrix.tensors = {{"embedding", 1, 4096, 128, {sum}}};
  ManifestWeight tied = matrix;
  tied.name = "head";
  tied.tensors.clear();
  tied.same_as = "embedding";
  ManifestWeight stack{
      .name = "block.0.expert_up", .packing = Packing::kStacked, .stack = 2, .rows = 3, .cols = 5};
  stack.tensors = {{"block.0.expert_up.0", 1, 4224, 60, {sum}},
                   {"block.0.expert_up.1", 1, 4288, 60, {sum}}};
  // Rows of 128 bytes: a block of 64 MiB and 192 bytes would not do, 64 MiB do.
  ManifestWeight table{.name = "memory.table",
                       .packing = Packing::kInterleavedRows,
                       .dtype = StoredDType::kBf16,
                       .rows = kMiB / 2 + 1,
                       .pre_width = 16,
                       .width = 32,
                       .row_stride = 128,
                       .block_rows = kMiB / 2};
  table.tensors = {{"memory.table.block.0", 1, 2 * kMiB, 64 * kMiB, {sum}},
                   {"memory.table.block.1", 2, 2 * kMiB, 128, {sum}}};
  m.weights = {matrix, tied, stack, table};
  return m;
}

std::string Refusal(const std::string& text) {
  const auto manifest = Manifest::Parse(text, "m.json");
  return manifest.ok() ? "accepted" : std::string(manifest.status().message());
}

// What is said of the example after `change`.
std::string RefusalOf(const std::function<void(Manifest&)>& change) {
  Manifest m = Example();
  change(m);
  return Refusal(m.Print());
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ManifestTest, ParsesWhatItPrints) {
  const std::string text = Example().Print();
  const auto parsed = Manifest::Parse(text, "m.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, Example());
  EXPECT_EQ(parsed->Print(), text);
  EXPECT_EQ(text.back(), '\n');
}

TEST(ManifestTest, ShapesSayWhichTensorsThereAre) {
  const Manifest m = Example();
  for (const ManifestWeight& weight : m.weights) {
    if (!weight.same_as.empty()) continue;
    ASSERT_EQ(weight.tensor_count(), static_cast<int64_t>(weight.tensors.size())) << weight.name;
    for (int64_t i = 0; i < weight.tensor_count(); ++i) {
      EXPECT_EQ(weight.tensor_name(i), weight.tensors[static_cast<size_t>(i)].name);
      EXPECT_EQ(weight.tensor_bytes(i), weight.tensors[static_cast<size_t>(i)].bytes);
    }
  }
  EXPECT_TRUE(m.weights[3].blocks());
  EXPECT_FALSE(m.weights[0].blocks());
}

TEST(ManifestTest, AMatrixMayBeDivided) {
  Manifest m = Example();
  ManifestWeight& matrix = m.weights[0];
  m.weights.erase(m.weights.begin() + 1);
  matrix.rows = 257;
  matrix.block_rows = 128;
  matrix.tensors = {{"embedding.block.0", 2, 4 * kMiB, 4096, {"0123456789abcdef"}},
                    {"embedding.block.1", 2, 6 * kMiB, 4096, {"0123456789abcdef"}},
                    {"embedding.block.2", 2, 8 * kMiB, 32, {"0123456789abcdef"}}};
  m.shards[1].bytes = 8 * kMiB + 32;
  const auto parsed = Manifest::Parse(m.Print(), "m.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, m);
  matrix.tensors[1].offset = 5 * kMiB;
  EXPECT_EQ(Refusal(m.Print()),
            "m.json: weight \"embedding\": tensor \"embedding.block.1\": offset 5242880 is no "
            "multiple of 2097152");
  matrix.tensors[1].offset = 6 * kMiB;
  matrix.block_rows = 100;
  EXPECT_THAT(Refusal(m.Print()), HasSubstr("blocks of 3200 bytes, which is no multiple of 4096"));
}

// Else the fuzzer would begin with nothing but refusals.
TEST(ManifestTest, TheCorpusHasManifests) {
  for (const char* name : {"packings", "divided", "empty"}) {
    std::ostringstream text;
    text << std::ifstream(std::string("loader/native/corpus/manifest/") + name + ".json").rdbuf();
    EXPECT_EQ(Refusal(text.str()), "accepted") << name;
  }
}

TEST(ManifestTest, ANewerVersionIsRefusedWhateverElseItHas) {
  const auto newer = Manifest::Parse(R"({"format":"mneme","version":2,"new":[]})", "m.json");
  EXPECT_EQ(newer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(newer.status().message(), "m.json: version 2 is newer than this build reads (1)");
  EXPECT_EQ(Refusal(R"({"format":"mneme","version":0})"),
            "m.json: version: expected an integer of 1 or more, found 0");
  EXPECT_EQ(Refusal(R"({"format":"gguf","version":1})"),
            "m.json: format: expected \"mneme\", found \"gguf\"");
}

TEST(ManifestTest, WhatIsNoManifestIsRefused) {
  EXPECT_THAT(Refusal(""), HasSubstr("m.json: "));
  EXPECT_EQ(Refusal("[]"), "m.json: expected an object, found an array");
  EXPECT_EQ(Refusal("{}"), "m.json: format: expected a string, found nothing");
  const std::string text = Example().Print();
  EXPECT_THAT(Refusal(text.substr(0, text.size() / 2)), HasSubstr("m.json: "));
  EXPECT_EQ(Refusal(Replaced(text, "\"config\"", "\"konfig\"")),
            "m.json: unknown member \"konfig\" = \"config.yaml\"");
  EXPECT_THAT(Refusal(Replaced(text, "\"bytes\":10", "\"bytes\":-10")),
              HasSubstr("source[0].bytes: expected an integer from 0"));
  EXPECT_THAT(Refusal(Replaced(text, "\"bytes\":10", "\"bytes\":1.5")),
              HasSubstr("source[0].bytes: expected an integer from 0"));
  EXPECT_EQ(Refusal(Replaced(text, "\"conversion\": \"0", "\"conversion\": \"G")),
            "m.json: conversion: expected 32 lower-case hexadecimal digits, found "
            "\"G123456789abcdef0123456789abcdef\"");
  EXPECT_EQ(Refusal(Replaced(text, "row_major", "column_major")),
            "m.json: weights[0].packing: expected one of row_major, stacked, interleaved_rows, "
            "found \"column_major\"");
  EXPECT_THAT(Refusal(Replaced(text, "BF16", "F16")),
              HasSubstr("weights[0].dtype: expected one of F32, BF16, I32, found \"F16\""));
  EXPECT_EQ(Refusal(Replaced(text, "\"same_as\":\"embedding\"", "\"same_as\":null")),
            "m.json: weights[1]: expected either tensors or same_as");
}

// Also one that says nothing: what else would it be for?
TEST(ManifestTest, UnknownMembersAreRefusedWhateverTheirValue) {
  const std::string text = Example().Print();
  for (const char* value : {"0", "false", "null", "\"\"", "[]", "{}"}) {
    const std::string more = std::string("\"foo\":") + value + ",";
    for (const char* before :
         {"\"format\": \"mneme\"", "\"name\":\"config.yaml\"", "\"dtype\":\"bf16\"",
          "\"file\":\"model-00001", "\"packing\"", "\"name\":\"embedding\",\"shard\""}) {
      EXPECT_THAT(Refusal(Replaced(text, before, more + before)),
                  HasSubstr("unknown member \"foo\" = "))
          << before << " " << value;
    }
  }
  // Of another packing.
  EXPECT_THAT(Refusal(Replaced(text, "\"rows\":4", "\"stack\":0,\"rows\":4")),
              HasSubstr("weights[0]: unknown member \"stack\" = 0"));
}

TEST(ManifestTest, FileNamesArePlainAndUnique) {
  for (const char* name : {"../config.yaml", "a/b", "..", ".hidden", "-rf", "a b", "a\\b", "ä"}) {
    EXPECT_THAT(RefusalOf([&](Manifest& m) { m.shards[0].file = name; }),
                HasSubstr("shards[0].file: expected a plain file name"))
        << name;
    EXPECT_THAT(RefusalOf([&](Manifest& m) { m.copies[0].name = name; }),
                HasSubstr("copies[0].name: expected a plain file name"))
        << name;
  }
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.shards[0].file = ""; }), HasSubstr("shards[0].file"));
  EXPECT_EQ(RefusalOf([](Manifest& m) { m.shards[0].file = m.shards[1].file; }),
            "m.json: file \"model-00002-of-00002.safetensors\" is listed twice");
  EXPECT_EQ(RefusalOf([](Manifest& m) { m.shards[0].file = "manifest.json"; }),
            "m.json: file \"manifest.json\" is listed twice");
  EXPECT_EQ(RefusalOf([](Manifest& m) { m.config = "config.json"; }),
            "m.json: config \"config.json\" is not in copies");
}

TEST(ManifestTest, TensorsLieInsideTheirShards) {
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.shards[1].bytes -= 1; }),
              HasSubstr("tensor \"memory.table.block.1\": bytes [2097152, 2097280) are not inside "
                        "the data of \"model-00002-of-00002.safetensors\", [4096, 2097279)"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[0].tensors[0].offset = 4032; }),
              HasSubstr("tensor \"embedding\": bytes [4032, 4160) are not inside"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[0].tensors[0].shard = 3; }),
              HasSubstr("tensor \"embedding\": in shard 3 of 2"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[0].tensors[0].shard = 0; }),
              HasSubstr("weights[0].tensors[0].shard: expected an integer of 1 or more, found 0"));
  EXPECT_EQ(RefusalOf([](Manifest& m) { m.weights[2].tensors[0].offset = 4160; }),
            "m.json: tensor \"block.0.expert_up.0\" at 4160 overlaps \"embedding\", which ends at "
            "4224");
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[2].tensors[1].offset += 32; }),
              HasSubstr("offset 4320 is no multiple of 64"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.shards[0].header_bytes = 4095; }),
              HasSubstr("header_bytes 4095 is no multiple of 4096"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.shards[0].header_bytes = int64_t{1} << 40; }),
              HasSubstr("is no multiple of 4096 inside its"));
}

TEST(ManifestTest, AHeaderIsNoLongerThanAnyOfItsFormat) {
  EXPECT_EQ(RefusalOf([](Manifest& m) {
              m.shards[0].bytes = int64_t{1} << 40;
              m.shards[0].header_bytes = 24415 * 4096;
            }),
            "m.json: shard \"model-00001-of-00002.safetensors\": header_bytes 100003840 is more "
            "than 100000008");
  // The weights no longer lie behind it; as a header it would do.
  EXPECT_THAT(RefusalOf([](Manifest& m) {
                m.shards[0].bytes = int64_t{1} << 40;
                m.shards[0].header_bytes = 24414 * 4096;
              }),
              HasSubstr("are not inside the data of"));
}

TEST(ManifestTest, TensorsAreWhatTheirWeightSays) {
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[0].tensors[0].name = "x"; }),
              HasSubstr("weight \"embedding\": tensor \"x\": expected \"embedding\""));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[2].rows = 4; }),
              HasSubstr("tensor \"block.0.expert_up.0\": has 60 bytes, its shape 80"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[2].tensors.pop_back(); }),
              HasSubstr("weight \"block.0.expert_up\": has 1 tensors, its shape 2"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[0].tensors[0].checksums.clear(); }),
              HasSubstr("has 0 checksums, its 128 bytes need 1"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[3].row_stride = 192; }),
              HasSubstr("row_stride 192 is not 96 bytes rounded up to a multiple of 64"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[3].block_rows = m.weights[3].rows + 1; }),
              HasSubstr("block_rows 524290 of 524289 rows"));
  EXPECT_THAT(
      RefusalOf([](Manifest& m) { m.weights[2].rows = m.weights[2].cols = int64_t{1} << 50; }),
      HasSubstr("weight \"block.0.expert_up\": has more bytes than can be counted"));
  EXPECT_THAT(
      RefusalOf([](Manifest& m) { m.weights[1].rows = 5, m.weights[1].block_rows = 5; }),
      HasSubstr("weight \"head\": same_as \"embedding\", which is no weight of this shape"));
  EXPECT_THAT(RefusalOf([](Manifest& m) { m.weights[1].same_as = "head"; }),
              HasSubstr("weight \"head\": same_as \"head\", which is no weight"));
  EXPECT_EQ(RefusalOf([](Manifest& m) { m.weights[1].name = "embedding"; }),
            "m.json: weight \"embedding\" is listed twice");
}

}  // namespace
}  // namespace mneme::loader
