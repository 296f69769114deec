// Every case of the golden folders: what Hugging Face `tokenizers` 0.23.3 gives for the same file.
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "loader/text/text.h"
#include "loader/tokenizer/byte_level.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme::loader {
namespace {

using Json = nlohmann::json;

struct Case {
  int line = 0;
  Json json;
  std::vector<int32_t> ids;
};

std::vector<Case> ReadCases(const std::string& path) {
  std::ifstream file(path);
  std::vector<Case> cases;
  std::string text;
  for (int line = 1; std::getline(file, text); ++line) {
    Case c = {line, Json::parse(text), {}};
    c.ids = c.json.at("ids").get<std::vector<int32_t>>();
    cases.push_back(std::move(c));
  }
  return cases;
}

std::vector<std::string> StreamPieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                      size_t context, bool skip_special) {
  StreamDecoder decoder(&tokenizer, skip_special);
  decoder.Reset(std::span(ids).first(context));
  std::vector<std::string> pieces;
  for (size_t i = context; i < ids.size(); ++i) decoder.Append(ids[i], &pieces.emplace_back());
  decoder.Flush(&pieces.emplace_back());
  return pieces;
}

std::string Joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

std::string BytesFromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

class TokenizerGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = std::string("loader/tokenizer/testdata/") + GetParam();
    auto loaded = Tokenizer::Load(folder);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    cases_ = ReadCases(folder + "/cases.jsonl");
    ASSERT_GT(cases_.size(), 100u);
  }

  // The text that Decode should give, if the case knows it.
  static std::optional<std::string> Expected(const Case& c, bool skip_special) {
    if (c.json.contains("round_trip")) return c.json.at("text").get<std::string>();
    const char* name = skip_special ? "decoded_skip" : "decoded";
    if (!c.json.contains(name)) return std::nullopt;
    return c.json.at(name).get<std::string>();
  }

  // No streaming can match where a run of byte tokens turns ill-formed behind valid text; such
  // cases have no stream.
  static bool CanStream(const Case& c) {
    return c.json.contains("text") || c.json.contains("stream");
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<Case> cases_;
};

TEST_P(TokenizerGoldenTest, EncodesEveryText) {
  int count = 0;
  for (const Case& c : cases_) {
    if (!c.json.contains("text")) continue;
    ++count;
    const auto ids =
        tokenizer_->Encode(c.json.at("text").get<std::string>(), c.json.at("add_special"));
    ASSERT_TRUE(ids.ok()) << "line " << c.line << ": " << ids.status();
    EXPECT_EQ(*ids, c.ids) << "line " << c.line << ": " << c.json.dump();
  }
  EXPECT_GT(count, 100);
}

TEST_P(TokenizerGoldenTest, DecodesEveryCase) {
  int count = 0;
  for (const Case& c : cases_) {
    for (const bool skip_special : {false, true}) {
      const std::optional<std::string> expected = Expected(c, skip_special);
      if (!expected.has_value()) continue;
      ++count;
      EXPECT_EQ(tokenizer_->Decode(c.ids, skip_special), *expected)
          << "line " << c.line << ": " << c.json.dump();
    }
    if (c.json.contains("decoded_bytes_hex")) {
      std::string bytes;
      for (const int32_t id : c.ids) {
        tokenizer_internal::AppendByteLevelDecoded(tokenizer_->IdToToken(id), &bytes);
      }
      EXPECT_EQ(bytes, BytesFromHex(c.json.at("decoded_bytes_hex"))) << "line " << c.line;
    }
  }
  EXPECT_GT(count, 200);
}

TEST_P(TokenizerGoldenTest, StreamedPiecesJoinToTheWhole) {
  for (const Case& c : cases_) {
    for (const bool skip_special : {false, true}) {
      const std::optional<std::string> expected = Expected(c, skip_special);
      if (!expected.has_value() || !CanStream(c)) continue;
      const auto pieces = StreamPieces(*tokenizer_, c.ids, 0, skip_special);
      EXPECT_EQ(Joined(pieces), *expected) << "line " << c.line << ": " << c.json.dump();
      for (const std::string& piece : pieces) EXPECT_EQ(FirstInvalidUtf8(piece), -1);
    }
  }
}

TEST_P(TokenizerGoldenTest, SendsNoPieceLaterThanTheLibrary) {
  int count = 0;
  for (const Case& c : cases_) {
    if (!c.json.contains("stream")) continue;
    ++count;
    const auto pieces = StreamPieces(*tokenizer_, c.ids, 0, false);
    const Json& stream = c.json.at("stream");
    ASSERT_EQ(stream.size(), c.ids.size());
    size_t theirs = 0, ours = 0;
    for (size_t i = 0; i < stream.size(); ++i) {
      ours += pieces[i].size();
      if (stream[i].is_string()) theirs += stream[i].get<std::string>().size();
      EXPECT_GE(ours, theirs) << "line " << c.line << ", token " << i;
    }
  }
  EXPECT_GT(count, 10);
}

TEST_P(TokenizerGoldenTest, AStreamContinuesFromAnyContext) {
  for (const Case& c : cases_) {
    if (!CanStream(c) || c.ids.empty() || c.ids.size() > 300) continue;
    const auto whole = StreamPieces(*tokenizer_, c.ids, 0, false);
    for (const size_t context : {size_t{1}, c.ids.size() / 2, c.ids.size() - 1}) {
      const auto rest = StreamPieces(*tokenizer_, c.ids, context, false);
      ASSERT_EQ(rest.size(), whole.size() - context);
      EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + context))
          << "line " << c.line << ", context " << context;
    }
  }
}

const char* const kFolders[] = {
    "demo",         "olmo_gpt_neox", "gpt_neox",        "llama3",
    "qwen2",        "llama2",        "metaspace_first", "metaspace_always",
    "deepseek_llm", "deepseek_v3",   "added_tokens",    "added_tokens_prepend"};

// The cases whose answer depends on the release of Unicode: docs/tokenizers.md says that none of
// them differs, though the system's libraries are of other releases.
TEST(TokenizerTaggedCasesTest, NoneDiffers) {
  std::map<std::string, int> count;
  std::vector<std::string> different;
  for (const std::string folder : kFolders) {
    const auto tokenizer = Tokenizer::Load("loader/tokenizer/testdata/" + folder);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (const Case& c : ReadCases("loader/tokenizer/testdata/" + folder + "/cases.jsonl")) {
      const std::string tag = c.json.value("tag", "");
      if (tag != "unicode version" && tag != "old normaliser") continue;
      ++count[tag];
      const auto ids =
          (*tokenizer)->Encode(c.json.at("text").get<std::string>(), c.json.at("add_special"));
      if (!ids.ok() || *ids != c.ids) different.push_back(folder + std::to_string(c.line));
    }
  }
  EXPECT_EQ(count["unicode version"], 97);
  EXPECT_EQ(count["old normaliser"], 62);
  EXPECT_EQ(different, std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(Folders, TokenizerGoldenTest, testing::ValuesIn(kFolders),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mneme::loader
