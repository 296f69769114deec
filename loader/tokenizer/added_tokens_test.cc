#include "loader/tokenizer/added_tokens.h"

#include <chrono>

#include "gtest/gtest.h"
#include "loader/json/json_for_test.h"
#include "loader/tokenizer/message.h"

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
  if (absl::Status status = added.Split(text, normalized, &sections); !status.ok()) {
    return std::string(status.message());
  }
  std::string shown;
  for (const Section& section : sections) {
    shown += shown.empty() ? "" : "|";
    shown += section.token ? "<" + section.token->content + ">" : std::string(section.text);
  }
  return shown;
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

// The library drops a token that is left without a byte, and fails on one that ends before the
// white space does that was taken.
TEST(AddedTokensTest, NothingIsLeftOfATokenWhoseWhiteSpaceIsTaken) {
  const auto both = Build(Token(" ", "lstrip rstrip"));
  EXPECT_EQ(Sections(*both, "\t   "), "< >");
  EXPECT_EQ(Sections(*both, "a   b \n c"), "a|< >|b|< >|c");
  const auto two = Build(Token("z", "rstrip") + "," + Token("  ", "lstrip"));
  EXPECT_EQ(Sections(*two, "z  a"), "<z>|a");
  EXPECT_EQ(Sections(*two, "z    a"),
            "the text has no ids: the added token \"  \" with lstrip lies in the white space that "
            "\"z\" with rstrip took");
  EXPECT_EQ(Sections(*two, "za  "), "<z>|a|<  >");
  // Without lstrip both are there.
  const auto plain = Build(Token("z", "rstrip") + "," + Token("  "));
  EXPECT_EQ(Sections(*plain, "z  a"), "<z>|<  >|a");
  EXPECT_EQ(Sections(*plain, "z   a"), "<z>|<  >| a");
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
  for (const std::string flags : {"lstrip rstrip", "rstrip", ""}) {
    const auto added = Build(Token(" ", flags));
    const auto start = std::chrono::steady_clock::now();
    std::vector<Section> sections;
    EXPECT_TRUE(added->Split(std::string(1'000'000, ' '), false, &sections).ok());
    EXPECT_EQ(sections.size(), flags == "lstrip rstrip" ? 1u : 1'000'000u);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
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
}

// Vocabulary {c: 1, d: 3}: tokens that it lacks are 2, then 3, which is d's.
TEST(AddedTokensTest, IdsThatMeetAreNamedWithWhatTheFileSays) {
  const auto error = [](const std::string& tokens) {
    return std::string(MessageOf(Build(tokens, R"({"c":1,"d":3})").status()));
  };
  const auto token = [](const std::string& content, int id) {
    return "{\"id\":" + std::to_string(id) + Token(content).substr(7);
  };
  EXPECT_EQ(error(token("d", 3) + "," + token("x", 98) + "," + token("y", 99)),
            "t.json: [2]: \"y\" is not in the vocabulary and would follow it as id 3, which \"d\" "
            "has; the file's own 99 is not used");
  EXPECT_EQ(error(token("x", 98) + "," + token("y", 99) + "," + token("d", 3)),
            "t.json: [2]: \"y\" is not in the vocabulary and would follow it as id 3, which \"d\" "
            "has; the file's own 99 is not used");
  EXPECT_EQ(error(token("d", 3) + "," + token("x", 2) + "," + token("y", 3)),
            "t.json: [2]: \"y\" is not in the vocabulary and would follow it as id 3, which \"d\" "
            "has");
}

// The library divides the text at every byte for such a token, and fails at a character of two.
TEST(AddedTokensTest, RefusesATokenOfWhichTheNormalizerLeavesNothing) {
  const std::string no_spaces = R"({"type":"Replace","pattern":{"String":" "},"content":""})";
  EXPECT_EQ(
      MessageOf(Build(Token(" ", "normalized"), R"({"a":0})", no_spaces).status()),
      "t.json: the normalised content of \" \": nothing is left of it, which is not supported");
  EXPECT_TRUE(Build(Token(" "), R"({"a":0})", no_spaces).ok());
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
