#include "loader/tokenizer/regex_rewrite.h"

#include "gtest/gtest.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {
namespace {

// N: the group that \R becomes.
std::string Rewritten(std::string_view pattern) {
  const auto rewritten = RewritePattern(pattern);
  EXPECT_TRUE(rewritten.ok()) << rewritten.status();
  if (!rewritten.ok()) return "";
  std::string text = *rewritten;
  const std::string newline = R"((?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}]))";
  for (size_t at; (at = text.find(newline)) != text.npos;) text.replace(at, newline.size(), "N");
  return text;
}

TEST(RegexRewriteTest, CopiesWhatIsReadTheSame) {
  for (const char* pattern : {"",
                              "a",
                              "\\",
                              "[",
                              "(",
                              ")",
                              "(?",
                              "(?i",
                              "(?#",
                              "[[:",
                              "[^",
                              "[]",
                              "\\c",
                              "\\C-",
                              "\\M-\\",
                              "a[b-c&&[^d[:alpha:]]]*",
                              "(?<n>a)\\k<n>\\g<n>",
                              "(?<=a)(?!b)(?>c)(?~d)",
                              "(?im-x:a)",
                              "(a)(?(1)b|c)",
                              "\xC3\xA9[\xC3\xA9]",
                              "(?P<n>a)",
                              "a{,2}\\p{^L}\\p{"}) {
    EXPECT_EQ(Rewritten(pattern), pattern);
  }
}

TEST(RegexRewriteTest, LineEnds) {
  EXPECT_EQ(Rewritten("\\R"), "N");
  EXPECT_EQ(Rewritten("(?:\\R)+|\\R*?"), "(?:N)+|N*?");
  EXPECT_EQ(Rewritten("\\\\R\\\\\\R"), "\\\\R\\\\N");
  EXPECT_EQ(Rewritten("\\r\\n"), "\\r\\n");
}

TEST(RegexRewriteTest, InBracketsAnEscapeIsACharacter) {
  EXPECT_EQ(Rewritten("[\\R]\\R"), "[\\R]N");
  EXPECT_EQ(Rewritten("[]\\R]\\R"), "[]\\R]N");
  EXPECT_EQ(Rewritten("[^]\\R]\\R"), "[^]\\R]N");
  EXPECT_EQ(Rewritten("[a[^]b]\\R]\\R"), "[a[^]b]\\R]N");
  EXPECT_EQ(Rewritten("[[:alpha:]\\R]\\R"), "[[:alpha:]\\R]N");
  EXPECT_EQ(Rewritten("[[:^alpha:]]\\R"), "[[:^alpha:]]N");
  EXPECT_EQ(Rewritten("[[:al]\\R]\\R"), "[[:al]\\R]N");
  EXPECT_EQ(Rewritten("[\\]\\R]\\R"), "[\\]\\R]N");
  EXPECT_EQ(Rewritten("[\\c\\]\\R]\\R"), "[\\c\\]\\R]N");
  EXPECT_EQ(Rewritten("\\[\\R]"), "\\[N]");
}

TEST(RegexRewriteTest, ControlCharactersEndWhereTheEngineSaysSo) {
  EXPECT_EQ(Rewritten("\\c\\R\\R"), "\\c\\RN");
  EXPECT_EQ(Rewritten("\\C-\\R\\R"), "\\C-\\RN");
  EXPECT_EQ(Rewritten("\\M-\\C-\\R\\R"), "\\M-\\C-\\RN");
  EXPECT_EQ(Rewritten("\\ca\\R"), "\\caN");
  EXPECT_EQ(Rewritten("\\c[\\R"), "\\c[N");
}

TEST(RegexRewriteTest, CommentsAreLeftAlone) {
  EXPECT_EQ(Rewritten("(?#\\R[()\\R"), "(?#\\R[()N");
  EXPECT_EQ(Rewritten("(?#\\)\\R)\\R"), "(?#\\)\\R)N");
  EXPECT_EQ(Rewritten("#[\\R]"), "#[\\R]");
  EXPECT_EQ(Rewritten("(?x)#[\\R\n\\R"), "(?x)#[\\R\nN");
  EXPECT_EQ(Rewritten("(?x)[#]\\R\\#\\R"), "(?x)[#]N\\#N");
  EXPECT_EQ(Rewritten("(?x:#(\n)#\\R"), "(?x:#(\n)#N");
  EXPECT_EQ(Rewritten("(?-x)#\\R"), "(?-x)#N");
  EXPECT_EQ(Rewritten("(?x)(?-x:#\\R)#\\R"), "(?x)(?-x:#N)#\\R");
  EXPECT_EQ(Rewritten("((?mx)a)#\\R"), "((?mx)a)#N");
  EXPECT_EQ(Rewritten("(?y{g}x)#\\R"), "(?y{g}x)#\\R");
}

TEST(RegexRewriteTest, ALookBehindKeepsItsLineEnds) {
  EXPECT_EQ(Rewritten("(?<=\\R)\\R"), "(?<=\\R)N");
  EXPECT_EQ(Rewritten("(?<!a(?:\\R))\\R"), "(?<!a(?:\\R))N");
  EXPECT_EQ(Rewritten("(?<n>\\R)(?=\\R)"), "(?<n>N)(?=N)");
}

TEST(RegexRewriteTest, TheWordPropertyOutsideOfBracketsIsW) {
  EXPECT_EQ(Rewritten("\\p{Word}\\P{word}\\p{^WORD}\\P{^w-o_r d}"), "\\w\\W\\W\\w");
  EXPECT_EQ(Rewritten("[\\p{Word}]\\p{Words}\\p{Word"), "[\\p{Word}]\\p{Words}\\p{Word");
}

TEST(RegexRewriteTest, CalloutsThatFail) {
  EXPECT_EQ(Rewritten("a(*FAIL)|(*MISMATCH)b"), "a(?!)|(?!)b");
  EXPECT_EQ(Rewritten("[(*FAIL)]\\(*"), "[(*FAIL)]\\(*");
}

TEST(RegexRewriteTest, RefusesByName) {
  const std::pair<const char*, const char*> kRefused[] = {
      {"(*COUNT{X})", "the callout (*COUNT is not supported"},
      {"(*FAIL{1})", "the callout (*FAIL is not supported"},
      {"(*", "the callout (* is not supported"},
      {"a(?{b})", "the callout (?{...} is not supported"},
      {"(?I)a", "the option I in (?I is not supported"},
      {"(?i-L:a)", "the option L in (?i-L is not supported"},
      {"(?(ab)c|d)+", "the condition of (?(...)...) that is no group is not supported"},
      {"(?((?=a))b)", "the condition of (?(...)...) that is no group is not supported"}};
  for (const auto& [pattern, message] : kRefused) {
    const auto rewritten = RewritePattern(pattern);
    EXPECT_EQ(rewritten.status().code(), absl::StatusCode::kInvalidArgument) << pattern;
    EXPECT_EQ(MessageOf(rewritten.status()), message) << pattern;
  }
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
