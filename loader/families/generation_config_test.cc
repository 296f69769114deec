#include "loader/families/generation_config.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelDescription Model() {
  ModelDescription model;
  model.vocab_size = 100;
  model.max_sequence_length = 2048;
  model.eos_token_ids = {9};
  return model;
}

struct Read {
  ModelDescription model = Model();
  GenerationDefaults defaults;
};

Read ReadText(const std::string& text) {
  Read read;
  const absl::Status status = ParseGenerationConfig(text, "g.json", &read.model, &read.defaults);
  EXPECT_TRUE(status.ok()) << status;
  return read;
}

std::string ErrorOf(const std::string& text) {
  Read read;
  const absl::Status status = ParseGenerationConfig(text, "g.json", &read.model, &read.defaults);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_EQ(read.defaults, GenerationDefaults()) << text;
  return std::string(status.message());
}

std::vector<std::string> WarningsOf(const std::string& text) {
  return ReadText(text).model.warnings;
}

TEST(GenerationConfigTest, ReadsWhatRequestsHave) {
  const Read read = ReadText(R"({"bos_token_id": 1, "do_sample": true, "temperature": 0.7,
      "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05,
      "max_new_tokens": 512, "eos_token_id": [5, 3], "transformers_version": "4.40.1",
      "_from_model_config": true, "pad_token_id": 3})");
  EXPECT_EQ(read.defaults.temperature, 0.7f);
  EXPECT_EQ(read.defaults.top_p, 0.8f);
  EXPECT_EQ(read.defaults.top_k, 20);
  EXPECT_EQ(read.defaults.min_p, 0.05f);
  EXPECT_EQ(read.defaults.repetition_penalty, 1.05f);
  EXPECT_EQ(read.defaults.max_new_tokens, 512);
  EXPECT_THAT(read.model.eos_token_ids, ElementsAre(5, 3));
  EXPECT_THAT(read.model.warnings, IsEmpty());
}

TEST(GenerationConfigTest, WhatIsAbsentOrNullChangesNothing) {
  for (const char* text :
       {"{}", R"({"temperature": null, "top_p": null, "top_k": null, "min_p": null,
                  "repetition_penalty": null, "max_new_tokens": null, "do_sample": null,
                  "eos_token_id": null, "num_beams": null, "bad_words_ids": null,
                  "max_length": null})"}) {
    const Read read = ReadText(text);
    EXPECT_EQ(read.defaults, GenerationDefaults()) << text;
    EXPECT_THAT(read.model.eos_token_ids, ElementsAre(9)) << text;
    EXPECT_THAT(read.model.warnings, IsEmpty()) << text;
  }
}

TEST(GenerationConfigTest, EosIsANumberOrAListAndWins) {
  EXPECT_THAT(ReadText(R"({"eos_token_id": 2})").model.eos_token_ids, ElementsAre(2));
  EXPECT_THAT(ReadText(R"({"eos_token_id": [2, 7]})").model.eos_token_ids, ElementsAre(2, 7));
  EXPECT_THAT(ReadText(R"({"eos_token_id": []})").model.eos_token_ids, IsEmpty());
  const Read read = ReadText(R"({"eos_token_id": [99, 100, -1]})");
  EXPECT_THAT(read.model.eos_token_ids, ElementsAre(99));
  EXPECT_THAT(read.model.warnings,
              ElementsAre("generation_config.json's eos_token_id 100, -1 is not in [0, 100) and is "
                          "ignored."));
}

TEST(GenerationConfigTest, NotToSampleIsGreedy) {
  EXPECT_EQ(ReadText(R"({"do_sample": false})").defaults.temperature, 0.0f);
  EXPECT_EQ(ReadText(R"({"do_sample": false, "temperature": 0.7})").defaults.temperature, 0.0f);
  EXPECT_EQ(ReadText(R"({"do_sample": true})").defaults.temperature, std::nullopt);
  EXPECT_EQ(ReadText(R"({"temperature": 0})").defaults.temperature, 0.0f);
}

TEST(GenerationConfigTest, RefusesByName) {
  EXPECT_THAT(ErrorOf("{"), HasSubstr("g.json: not JSON at byte"));
  EXPECT_EQ(ErrorOf("[]"), "g.json: expected an object, not an array");
  const std::pair<const char*, const char*> kRefusals[] = {
      {R"("temperature": -0.5)", "temperature: -0.5 is not in [0, 3.40282e+38]"},
      {R"("temperature": 1e39)", "temperature: 9.9999999999999994e+38 is not in [0, 3.40282e+38]"},
      {R"("temperature": "hot")", "temperature: expected a number, not \"hot\""},
      {R"("top_p": 0)", "top_p: 0 is not in (0, 1]"},
      {R"("top_p": 1.5)", "top_p: 1.5 is not in (0, 1]"},
      {R"("top_p": 1e-50)", "top_p: 1e-50 is too small for a float"},
      {R"("top_k": -2)", "top_k: -2 is not in [-1, 2147483647]"},
      {R"("top_k": 50.5)", "top_k: expected a whole number, not \"50.5\""},
      {R"("top_k": [50])", "top_k: expected one value, not a collection"},
      {R"("min_p": 1.25)", "min_p: 1.25 is not in [0, 1]"},
      {R"("repetition_penalty": 0)", "repetition_penalty: 0 is not in (0, 3.40282e+38]"},
      {R"("repetition_penalty": -1.0)", "repetition_penalty: -1 is not in (0, 3.40282e+38]"},
      {R"("max_new_tokens": 0)", "max_new_tokens: 0 is not in [1, 2147483647]"},
      {R"("max_new_tokens": 2147483648)", "max_new_tokens: 2147483648 is not in [1, 2147483647]"},
      {R"("do_sample": 1)", "do_sample: expected true or false, not \"1\""},
      {R"("eos_token_id": "</s>")", "eos_token_id: expected a whole number, not \"</s>\""},
      {R"("eos_token_id": [2, 2.5])", "eos_token_id: expected a whole number, not \"2.5\""},
      {R"("eos_token_id": [[2]])", "eos_token_id: expected one value, not a collection"}};
  for (const auto& [member, message] : kRefusals) {
    EXPECT_EQ(ErrorOf("{" + std::string(member) + "}"), std::string("g.json: ") + message);
  }
  std::string many = "2";
  for (int i = 0; i < 64; ++i) many += ",2";
  EXPECT_EQ(ErrorOf("{\"eos_token_id\": [" + many + "]}"),
            "g.json: eos_token_id: 65 ids, at most 64 are read");
}

TEST(GenerationConfigTest, WarnsOnceOfWhatWouldChangeTheText) {
  EXPECT_THAT(WarningsOf(R"({"num_beams": 4, "length_penalty": 2.0, "early_stopping": true,
                             "no_repeat_ngram_size": 3, "bad_words_ids": [[5]],
                             "suppress_tokens": [1, 2], "typical_p": 0.95, "penalty_alpha": 0.6,
                             "forced_bos_token_id": 7, "stop_strings": "end"})"),
              ElementsAre("generation_config.json sets what is not served: num_beams 4, "
                          "penalty_alpha 0.6, typical_p 0.95, no_repeat_ngram_size 3, "
                          "length_penalty 2, early_stopping, bad_words_ids, forced_bos_token_id, "
                          "stop_strings, suppress_tokens; texts are generated without."));
  // Off, or of beams where there are none, or unknown.
  EXPECT_THAT(WarningsOf(R"({"num_beams": 1, "length_penalty": 2.0, "early_stopping": true,
                             "no_repeat_ngram_size": 0, "bad_words_ids": [], "typical_p": 1.0,
                             "encoder_repetition_penalty": 1.0, "guidance_scale": 1,
                             "suppress_tokens": [], "use_cache": true, "something_new": 5})"),
              IsEmpty());
}

TEST(GenerationConfigTest, WarnsOfALengthThatIsShorterThanTheContext) {
  EXPECT_THAT(WarningsOf(R"({"max_length": 20})"),
              ElementsAre("generation_config.json sets what is not served: max_length 20; texts "
                          "are generated without."));
  EXPECT_THAT(WarningsOf(R"({"max_length": 2048})"), IsEmpty());
  EXPECT_THAT(WarningsOf(R"({"max_length": 4096})"), IsEmpty());
  EXPECT_THAT(WarningsOf(R"({"max_length": 20, "max_new_tokens": 5})"), IsEmpty());
}

TEST(GenerationConfigTest, AFolderMayHaveNone) {
  const std::string folder = ::testing::TempDir() + "/generation_config_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  Read read;
  EXPECT_TRUE(ReadGenerationConfig(folder, &read.model, &read.defaults).ok());
  EXPECT_EQ(read.defaults, GenerationDefaults());
  std::ofstream(folder + "/generation_config.json") << R"({"top_k": 7})";
  EXPECT_TRUE(ReadGenerationConfig(folder, &read.model, &read.defaults).ok());
  EXPECT_EQ(read.defaults.top_k, 7);
  std::ofstream(folder + "/generation_config.json") << R"({"top_k": -7})";
  EXPECT_EQ(std::string(ReadGenerationConfig(folder, &read.model, &read.defaults).message()),
            folder + "/generation_config.json: top_k: -7 is not in [-1, 2147483647]");
}

}  // namespace
}  // namespace mneme::loader
