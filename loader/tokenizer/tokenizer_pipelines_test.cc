// Small pipelines of added tokens that meet, and of Metaspace "first" behind what rewrites the
// text's beginning: what Hugging Face `tokenizers` gives for each text, whose release the file
// names.
//
// One model is for all. Each pipeline has the other parts of a tokenizer.json (of an added token
// the flags that are set) and cases: a text, its ids without special tokens, then their text with
// special tokens kept, and skipped where that is another. Cases without a text have an added token
// that the normalizer changes, which this library decodes as releases up to 0.22 do.
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme::loader {
namespace {

using Json = nlohmann::json;

const Json& File() {
  static const Json* const file = [] {
    std::ifstream in("loader/tokenizer/testdata/pipelines/pipelines.json");
    return new Json(Json::parse(in));
  }();
  return *file;
}

std::unique_ptr<Tokenizer> Make(const Json& pipeline) {
  Json added = Json::array();
  for (const Json& token : pipeline.at("added_tokens")) {
    Json whole = {{"id", token.at("id")}, {"content", token.at("content")}};
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
      whole[flag] = false;
    }
    for (const std::string flag : token.at("flags")) whole[flag] = true;
    added.push_back(std::move(whole));
  }
  const Json file = {{"version", "1.0"},
                     {"added_tokens", std::move(added)},
                     {"normalizer", pipeline.at("normalizer")},
                     {"pre_tokenizer", pipeline.at("pre_tokenizer")},
                     {"decoder", pipeline.at("decoder")},
                     {"model", File().at("model")}};
  auto tokenizer = Tokenizer::Parse(file.dump(), "pipeline");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// What is tried, for messages.
std::string Shown(const Json& pipeline, const Json& sample) {
  Json without_cases = pipeline;
  without_cases.erase("cases");
  return sample.dump() + " of " + without_cases.dump();
}

TEST(TokenizerPipelinesTest, EncodesAsTheLibraryDoes) {
  int count = 0;
  for (const Json& pipeline : File().at("pipelines")) {
    const auto tokenizer = Make(pipeline);
    ASSERT_NE(tokenizer, nullptr);
    for (const Json& sample : pipeline.at("cases")) {
      ++count;
      const auto ids = tokenizer->Encode(sample.at(0).get<std::string>(), false);
      ASSERT_TRUE(ids.ok()) << ids.status() << ": " << Shown(pipeline, sample);
      EXPECT_EQ(*ids, sample.at(1).get<std::vector<int32_t>>()) << Shown(pipeline, sample);
    }
  }
  EXPECT_EQ(count, 1344);
}

TEST(TokenizerPipelinesTest, DecodesAsTheLibraryDoes) {
  int count = 0;
  for (const Json& pipeline : File().at("pipelines")) {
    const auto tokenizer = Make(pipeline);
    ASSERT_NE(tokenizer, nullptr);
    for (const Json& sample : pipeline.at("cases")) {
      if (sample.size() == 2) continue;
      const auto ids = sample.at(1).get<std::vector<int32_t>>();
      for (const bool skip_special : {false, true}) {
        ++count;
        const auto text =
            sample.at(skip_special ? sample.size() - 1 : size_t{2}).get<std::string>();
        EXPECT_EQ(tokenizer->Decode(ids, skip_special), text) << Shown(pipeline, sample);
        StreamDecoder stream(tokenizer.get(), skip_special);
        std::string streamed;
        for (const int32_t id : ids) stream.Append(id, &streamed);
        stream.Flush(&streamed);
        EXPECT_EQ(streamed, text) << Shown(pipeline, sample);
      }
    }
  }
  EXPECT_EQ(count, 2 * 1267);
}

TEST(TokenizerPipelinesTest, SaysWhoMadeIt) {
  EXPECT_EQ(File().at("made_with"), "tokenizers 0.23.3");
  EXPECT_EQ(File().at("pipelines").size(), 112u);
}

}  // namespace
}  // namespace mneme::loader
