#include "loader/tokenizer/added_tokens.h"

#include <chrono>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/token_trie.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::string Token(const std::string& content, const std::string& set_flags = "") {
  std::string json = "{\"id\":0,\"content\":\"" + content + "\"";
  for (const std::string flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
    json += ",\"" + flag + "\":" + (set_flags.find(flag) != std::string::npos ? "true" : "false");
  }
  return json + "}";
}

absl::StatusOr<AddedTokens> Build(const std::string& tokens,
                                  const std::string& vocabulary = R"({"a":0,"b":1})",
                                  const std::string& normalizer = "null") {
  auto built_vocabulary = Vocabulary::Build(ParsedJson(vocabulary).field());
  auto built_normalizer = Normalizer::Build(ParsedJson(normalizer).field());
  SearchBudget budget;
  return AddedTokens::Build(ParsedJson("[" + tokens + "]").field(), *built_vocabulary,
                            *built_normalizer, &budget);
}

// Tokens as <content>, text as it is.
std::string Sections(const AddedTokens& added, std::string_view text, bool normalized = false) {
  std::vector<Section> sections;
  added.Split(text, normalized, &sections);
  std::string shown;
  for (const Section& section : sections) {
    shown += shown.empty() ? "" : "|";
    shown += section.token ? "<" + section.token->content + ">" : std::string(section.text);
  }
  return shown;
}

TEST(TokenTrieTest, FindsTheLongest) {
  TokenTrie trie;
  EXPECT_TRUE(trie.empty());
  trie.Insert("ab", 1);
  trie.Insert("abcd", 2);
  trie.Insert("ab", 3);
  EXPECT_FALSE(trie.empty());
  EXPECT_TRUE(trie.StartsWith('a'));
  EXPECT_FALSE(trie.StartsWith('b'));
  EXPECT_EQ(trie.Longest("abce").value, 1);
  EXPECT_EQ(trie.Longest("abce").size, 2u);
  EXPECT_EQ(trie.Longest("abcd").value, 2);
  EXPECT_EQ(trie.Longest("a").size, 0u);
  EXPECT_EQ(trie.Longest("").size, 0u);
}

TEST(AddedTokensTest, IdsFollowTheVocabulary) {
  const auto added = Build(Token("b") + "," + Token("x") + "," + Token("y"));
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(added->Find("b")->id, 1);
  EXPECT_EQ(added->Find("x")->id, 2);
  EXPECT_EQ(added->Find("y")->id, 3);
  EXPECT_EQ(added->Find(3)->content, "y");
  EXPECT_EQ(added->Find(9), nullptr);
  EXPECT_EQ(added->end_id(), 4);
}

TEST(AddedTokensTest, LeftmostThenLongestAndTheFlagsAfterwards) {
  const auto added = Build(Token("foo", "single_word") + "," + Token("foobar", "single_word"));
  EXPECT_EQ(Sections(*added, "a foo foobar"), "a |<foo>| |<foobar>");
  EXPECT_EQ(Sections(*added, "foobarx foo"), "foobarx |<foo>");
  EXPECT_EQ(Sections(*added, "xfoo foo\xC2\xB2"), "xfoo |<foo>|\xC2\xB2");
}

TEST(AddedTokensTest, StripsTakeWhiteSpace) {
  const auto added = Build(Token("L", "lstrip") + "," + Token("R", "rstrip") + "," + Token(" x"));
  EXPECT_EQ(Sections(*added, "a  L  b"), "a|<L>|  b");
  EXPECT_EQ(Sections(*added, "a  R \xE3\x80\x80 b"), "a  |<R>|b");
  EXPECT_EQ(Sections(*added, "R  L"), "<R>|<L>");
  // The search still sees the white space that R took.
  EXPECT_EQ(Sections(*added, "R x y"), "<R>|< x>| y");
}

TEST(AddedTokensTest, NormalizedTokensAreFoundByTheirNormalizedContent) {
  const auto added = Build(Token("foo", "normalized") + "," + Token("bar"), R"({"a":0})",
                           R"({"type":"Prepend","prepend":"_"})");
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(Sections(*added, "foo bar"), "foo |<bar>");
  EXPECT_EQ(Sections(*added, "_foo bar foo", true), "<foo>| bar foo");
}

TEST(AddedTokensTest, OneContentTwiceTakesTheLaterFlagsAndStaysSpecial) {
  const auto added = Build(Token("x", "special") + "," + Token("x", "lstrip"));
  ASSERT_EQ(added->tokens().size(), 1u);
  EXPECT_TRUE(added->tokens()[0].special);
  EXPECT_TRUE(added->tokens()[0].lstrip);
}

TEST(AddedTokensTest, BlankTokensAreLinearInARunOfBlanks) {
  const auto added = Build(Token(" ", "lstrip rstrip"));
  const auto start = std::chrono::steady_clock::now();
  std::vector<Section> sections;
  added->Split(std::string(1'000'000, ' '), false, &sections);
  EXPECT_EQ(sections.size(), 1'000'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

// 1050 tokens of five bytes, of which the normalizer makes 4000 each.
TEST(AddedTokensTest, TheContentsAreBoundedTogether) {
  const auto tokens = [](int count) {
    std::string json;
    for (int i = 0; i < count; ++i) {
      json += (i > 0 ? "," : "") + Token(std::to_string(1000 + i) + "a", "normalized");
    }
    return json;
  };
  const std::string longer =
      R"({"type":"Replace","pattern":{"String":"a"},"content":")" + std::string(3996, 'x') + "\"}";
  const auto most = Build(tokens(1048), R"({"a":0})", longer);
  EXPECT_TRUE(most.ok()) << most.status();
  EXPECT_EQ(MessageOf(Build(tokens(1050), R"({"a":0})", longer).status()),
            "t.json: the contents up to \"2048a\", normalised, have 4196000 bytes; at most 4194304 "
            "are supported for all");
}

TEST(AddedTokensTest, OneBudgetIsForAllTokens) {
  const auto vocabulary = Vocabulary::Build(ParsedJson(R"({"a":0})").field());
  const auto normalizer = Normalizer::Build(ParsedJson(R"({"type":"NFC"})").field());
  SearchBudget spent(std::chrono::seconds(-1));
  const auto build = [&](const std::string& token) {
    return AddedTokens::Build(ParsedJson("[" + token + "]").field(), *vocabulary, *normalizer,
                              &spent)
        .status();
  };
  EXPECT_TRUE(build(Token("x")).ok());
  EXPECT_EQ(MessageOf(build(Token("x", "normalized"))),
            "t.json: the normalised content of \"x\": the time for searches is spent");
}

TEST(AddedTokensTest, RefusesByName) {
  const auto error = [](const std::string& tokens) {
    const auto added = Build(tokens);
    return added.ok() ? "" : std::string(MessageOf(added.status()));
  };
  EXPECT_EQ(error(R"({"id":1,"content":"x"})"),
            "t.json: [0].single_word: expected true or false, found nothing");
  EXPECT_NE(error("7").find("[0]: expected an object, found 7"), std::string::npos);
  EXPECT_NE(error(Token(std::string(5000, 'x'))).find("5000 bytes"), std::string::npos);
  EXPECT_NE(error(R"({"id":99999999,"content":"x"})").find("found 99999999"), std::string::npos);
  EXPECT_EQ(error(Token("")), "");
  // Vocabulary {c: 1, d: 3}: the new token would be 2, then 3, which is d's.
  const auto holes = Build(Token("d") + "," + Token("x") + "," + Token("y"), R"({"c":1,"d":3})");
  EXPECT_NE(MessageOf(holes.status()).find("id 3 is given to both \"d\" and \"y\""),
            std::string::npos);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
