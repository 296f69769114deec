// Every golden case of every tokenizer.json through the mneme binary: `tokenize`, `detokenize` with
// special tokens kept and skipped, and its streams. What they should say is what Hugging Face
// `tokenizers` 0.23.3 says.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/process.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

std::vector<Json> ReadLines(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

// A case as the binary answers it; line: of cases.jsonl.
struct Question {
  int line;
  Json asked;
  Json expected;
};

class TokenizerVerbsTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = "loader/tokenizer/testdata/" + GetParam();
    cases_ = ReadLines(folder_ + "/cases.jsonl");
    ASSERT_GT(cases_.size(), 100u);
  }

  // The answers of `mneme VERB --json` to lines of standard input.
  std::vector<Json> Answers(const std::string& verb, const std::vector<Question>& questions) {
    const std::string in = ::testing::TempDir() + "/in.jsonl";
    const std::string out = ::testing::TempDir() + "/out.jsonl";
    std::ofstream file(in);
    for (const Question& question : questions) file << question.asked.dump() << "\n";
    file.close();
    const std::string command = absl::StrCat(
        "clients/cli/mneme ", verb, " --json --tokenizer=", folder_, " < ", in, " > ", out);
    EXPECT_EQ(std::system(command.c_str()), 0);
    return ReadLines(out);
  }

  void ExpectAnswers(const std::string& verb, const std::vector<Question>& questions) {
    const std::vector<Json> answers = Answers(verb, questions);
    ASSERT_EQ(answers.size(), questions.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      EXPECT_EQ(answers[i], questions[i].expected)
          << "line " << questions[i].line << ": " << questions[i].asked.dump();
    }
  }

  // The decoded text, if the case knows it.
  static std::optional<Json> Decoded(const Json& c, bool skip_special) {
    if (c.contains("round_trip")) return c.at("text");
    const auto found = c.find(skip_special ? "decoded_skip" : "decoded");
    return found == c.end() ? std::nullopt : std::optional<Json>(*found);
  }

  std::string folder_;
  std::vector<Json> cases_;
};

TEST_P(TokenizerVerbsTest, TokenizeGivesTheIds) {
  std::vector<Question> questions;
  int with_special = 0;
  for (size_t i = 0; i < cases_.size(); ++i) {
    const Json& c = cases_[i];
    if (!c.contains("text")) continue;
    with_special += c.at("add_special") == true;
    questions.push_back({static_cast<int>(i) + 1,
                         {{"text", c.at("text")}, {"add_special", c.at("add_special")}},
                         {{"ids", c.at("ids")}}});
  }
  EXPECT_GT(with_special, 0);
  EXPECT_GT(static_cast<int>(questions.size()) - with_special, 10);
  ExpectAnswers("tokenize", questions);
}

TEST_P(TokenizerVerbsTest, DetokenizeGivesTheTexts) {
  std::vector<Question> questions;
  for (size_t i = 0; i < cases_.size(); ++i) {
    for (const bool skip_special : {false, true}) {
      const std::optional<Json> text = Decoded(cases_[i], skip_special);
      if (!text.has_value()) continue;
      questions.push_back({static_cast<int>(i) + 1,
                           {{"ids", cases_[i].at("ids")}, {"skip_special", skip_special}},
                           {{"text", *text}}});
    }
  }
  EXPECT_GT(questions.size(), 200u);
  ExpectAnswers("detokenize", questions);
}

// A piece may come earlier than the library's, which holds a whole token back while its last
// character is incomplete, but never later; and the pieces are the text.
TEST_P(TokenizerVerbsTest, StreamsComeInTimeAndWhole) {
  std::vector<Question> questions;
  for (size_t i = 0; i < cases_.size(); ++i) {
    if (!cases_[i].contains("stream")) continue;
    questions.push_back({static_cast<int>(i) + 1,
                         {{"ids", cases_[i].at("ids")}, {"skip_special", false}, {"stream", true}},
                         {}});
  }
  EXPECT_GT(questions.size(), 10u);
  const std::vector<Json> answers = Answers("detokenize", questions);
  ASSERT_EQ(answers.size(), questions.size());
  for (size_t q = 0; q < answers.size(); ++q) {
    const Json& c = cases_[static_cast<size_t>(questions[q].line) - 1];
    const auto pieces = answers[q].at("pieces").get<std::vector<std::string>>();
    ASSERT_EQ(pieces.size(), c.at("ids").size() + 1) << "line " << questions[q].line;
    std::string ours, theirs;
    for (size_t i = 0; i < c.at("stream").size(); ++i) {
      ours += pieces[i];
      if (c.at("stream")[i].is_string()) theirs += c.at("stream")[i].get<std::string>();
      EXPECT_TRUE(ours.starts_with(theirs))
          << "line " << questions[q].line << ", token " << i << ": " << ours << " / " << theirs;
    }
    ours += pieces.back();
    if (const std::optional<Json> text = Decoded(c, false); text.has_value()) {
      EXPECT_EQ(ours, text->get<std::string>()) << "line " << questions[q].line;
    }
  }
}

// Behind a prompt a stream goes on as the whole does: a space that a text's start would lose stays.
TEST_P(TokenizerVerbsTest, StreamsContinueBehindAPrompt) {
  std::vector<Question> whole, rest;
  for (size_t i = 0; i < cases_.size(); i += 7) {
    const Json& c = cases_[i];
    if (!c.contains("text") || c.at("ids").empty() || c.at("ids").size() > 300) continue;
    whole.push_back({static_cast<int>(i) + 1, {{"ids", c.at("ids")}, {"stream", true}}, {}});
    rest.push_back(whole.back());
    rest.back().asked["context"] = (c.at("ids").size() + 1) / 2;
  }
  EXPECT_GT(rest.size(), 10u);
  const std::vector<Json> all = Answers("detokenize", whole);
  ASSERT_EQ(all.size(), rest.size());
  for (size_t i = 0; i < rest.size(); ++i) {
    const Json& pieces = all[i].at("pieces");
    const auto context = rest[i].asked.at("context").get<Json::difference_type>();
    rest[i].expected["pieces"] = Json(pieces.begin() + context, pieces.end());
  }
  ExpectAnswers("detokenize", rest);
}

INSTANTIATE_TEST_SUITE_P(Folders, TokenizerVerbsTest,
                         ::testing::Values("demo", "olmo_gpt_neox", "gpt_neox", "llama3", "qwen2",
                                           "llama2", "metaspace_first", "metaspace_always",
                                           "deepseek_llm", "deepseek_v3", "added_tokens",
                                           "added_tokens_prepend"),
                         [](const auto& info) { return info.param; });

// Every verb that reads a tokenizer refuses a folder with SentencePiece's model only, and says what
// makes a tokenizer.json of it.
TEST(SentencePieceOnlyTest, IsRefusedByEveryVerb) {
  const std::string folder = ::testing::TempDir() + "/sentencepiece_only";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const char* name : {"config.yaml", "model.safetensors"}) {
    std::filesystem::create_symlink(
        std::filesystem::absolute(std::string("models/demo/ultramem/") + name),
        folder + "/" + name);
  }
  std::ofstream(folder + "/tokenizer.model") << "\n\x0E\n\x05<unk>";
  const std::vector<std::string> kVerbs[] = {{"inspect", "--model", folder},
                                             {"tokenize", "--tokenizer", folder},
                                             {"detokenize", "--tokenizer", folder},
                                             {"serve", "--model", folder, "--listen=127.0.0.1:0"}};
  for (const std::vector<std::string>& arguments : kVerbs) {
    Process process(arguments);
    process.ReadRest();
    EXPECT_EQ(process.Wait(), 1) << arguments[0];
    EXPECT_THAT(process.err(),
                HasSubstr(absl::StrCat(
                    folder,
                    "/tokenizer.model: SentencePiece models are not supported; make a "
                    "tokenizer.json beside it: python3 -c \"from transformers import AutoTokenizer "
                    "as T; T.from_pretrained('",
                    folder, "').save_pretrained('", folder, "')\"")))
        << arguments[0];
  }
}

}  // namespace
}  // namespace mneme::testing
