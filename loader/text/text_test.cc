#include "loader/text/text.h"

#include <string>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(TextTest, FindsTheFirstByteThatIsNotUtf8) {
  EXPECT_EQ(FirstInvalidUtf8(""), -1);
  EXPECT_EQ(FirstInvalidUtf8("plain"), -1);
  EXPECT_EQ(FirstInvalidUtf8("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), -1);
  EXPECT_EQ(FirstInvalidUtf8("ab\xff"), 2);
  EXPECT_EQ(FirstInvalidUtf8("ab\xe2\x82"), 2);         // cut off
  EXPECT_EQ(FirstInvalidUtf8("\xc0\xaf"), 0);           // overlong
  EXPECT_EQ(FirstInvalidUtf8("\xed\xa0\x80"), 0);       // surrogate
  EXPECT_EQ(FirstInvalidUtf8("a\xf4\x90\x80\x80"), 1);  // above U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("a\x80"), 1);              // continuation alone
  EXPECT_EQ(FirstInvalidUtf8("\xe0\x80\x80"), 0);       // overlong of three
}

TEST(TextTest, QuotesShortenAndEscape) {
  EXPECT_EQ(Quote("a.weight"), "\"a.weight\"");
  EXPECT_EQ(Quote("a\nb"), "\"a\\nb\"");
  EXPECT_EQ(Quote("\xc3\xa9"), "\"\xc3\xa9\"");
  EXPECT_EQ(Quote("\xff"), "\"\\377\"");
  const std::string quoted = Quote(std::string(10000, 'x'));
  EXPECT_LT(quoted.size(), 130u);
  EXPECT_NE(quoted.find("..."), std::string::npos);
  // A character of two bytes across the cut is left out as a whole.
  const std::string odd = Quote("x" + std::string(119, 'y') + "\xc3\xa9zz");
  EXPECT_EQ(FirstInvalidUtf8(odd), -1);
  const std::string across = Quote(std::string(119, 'y') + "\xc3\xa9zz");
  EXPECT_EQ(FirstInvalidUtf8(across), -1);
  EXPECT_EQ(across.find("\\3"), std::string::npos);
}

TEST(TextTest, QuotesAreShortWhateverTheirEscapesNeed) {
  for (const char byte : {'x', '\n', '\x01', '\xff', '"'}) {
    const std::string quoted = Quote(std::string(10000, byte));
    EXPECT_LE(quoted.size(), kMaxQuotedBytes) << static_cast<int>(byte);
    EXPECT_GT(quoted.size(), kMaxQuotedBytes - 4) << static_cast<int>(byte);
    EXPECT_EQ(quoted.substr(quoted.size() - 4), "...\"");
  }
  EXPECT_EQ(Quote(std::string(120, 'x')), "\"" + std::string(120, 'x') + "\"");
  // A byte that is not UTF-8 does not take the characters beside it away.
  EXPECT_EQ(Quote("\xc3\xa9\xff"), "\"\xc3\xa9\\377\"");
}

TEST(TextTest, QuotesAFewOfMany) {
  const std::vector<std::string> texts = {"a", "b", "c", "d", "e"};
  const std::span<const std::string> all(texts);
  EXPECT_EQ(QuoteFew(all.first(0)), "");
  EXPECT_EQ(QuoteFew(all.first(1)), "\"a\"");
  EXPECT_EQ(QuoteFew(all.first(3)), "\"a\", \"b\" and \"c\"");
  EXPECT_EQ(QuoteFew(all), "\"a\", \"b\", \"c\" and 2 more");
}

}  // namespace
}  // namespace mneme::loader
