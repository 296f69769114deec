#include "loader/tokenizer/nfc.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <chrono>
#include <random>

#include "gtest/gtest.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {
namespace {

std::string Nfc(std::string text) {
  EXPECT_TRUE(NormalizeNfc(&text).ok());
  return text;
}

size_t LeadingOf(std::string text, size_t leading) {
  EXPECT_TRUE(NormalizeNfc(&text, &leading).ok());
  return leading;
}

std::string IcuNfc(std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  static const icu::UnicodeSet* const filter = new icu::UnicodeSet(u"[:age=9.0:]", error);
  const icu::FilteredNormalizer2 nfc(*icu::Normalizer2::getNFCInstance(error), *filter);
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  nfc.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                    nullptr, error);
  EXPECT_TRUE(U_SUCCESS(error));
  return out;
}

std::string Utf8(std::initializer_list<char32_t> characters) {
  std::string text;
  for (const char32_t c : characters) AppendUtf8(c, &text);
  return text;
}

TEST(NfcTest, ComposesAndReorders) {
  EXPECT_EQ(Nfc("plain"), "plain");
  EXPECT_EQ(Nfc(Utf8({'e', 0x301})), Utf8({0xE9}));
  EXPECT_EQ(Nfc(Utf8({'a', 0x323, 0x302})), Utf8({0x1EAD}));
  EXPECT_EQ(Nfc(Utf8({'a', 0x302, 0x323})), Utf8({0x1EAD}));
  EXPECT_EQ(Nfc(Utf8({0x212A})), "K");
  EXPECT_EQ(Nfc(Utf8({0x1100, 0x1161, 0x11A8})), Utf8({0xAC01}));
}

TEST(NfcTest, LeavesCharactersYoungerThanUnicode9Alone) {
  const std::string dives_akuru = Utf8({0x11935, 0x11930});  // compose since Unicode 13
  EXPECT_EQ(Nfc(dives_akuru), dives_akuru);
  const std::string mark = Utf8({'a', 0x1DFA, 0x345});  // U+1DFA has a class since Unicode 14
  EXPECT_EQ(Nfc(mark), mark);
}

TEST(NfcTest, LongRunsOfMarksEqualIcu) {
  constexpr char32_t kMarks[] = {0x300, 0x301, 0x316, 0x323, 0x327, 0x334, 0x344,  0x345,
                                 0xF73, 0xF75, 0xF81, 0xF71, 0xF72, 0x5B0, 0x1DFA, 0x1E023};
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int run = 0; run < 3; ++run) {
      AppendUtf8("aeo"[run], &text);
      const int length = static_cast<int>(random() % 200);
      for (int i = 0; i < length; ++i) AppendUtf8(kMarks[random() % std::size(kMarks)], &text);
    }
    ASSERT_EQ(Nfc(text), IcuNfc(text)) << round;
  }
}

TEST(NfcTest, IsNotQuadraticInARunOfMarks) {
  for (const auto& pair : {Utf8({0x301, 0x316}), Utf8({0xF73, 0xF75})}) {
    std::string text = "a";
    while (text.size() < 1'000'000) text += pair;
    const auto start = std::chrono::steady_clock::now();
    Nfc(text);
    EXPECT_GT(LeadingOf(text, 1), 0u);
    // It takes minutes if it is; a sanitizer's build takes a second if it is not.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
}

// Values of `tokenizers` 0.23.3, seen in the offsets that it gives the characters of a text.
TEST(NfcTest, LeadingIsWhatComesFromTheFirstCharacter) {
  EXPECT_EQ(LeadingOf("abc", 1), 1u);
  EXPECT_EQ(LeadingOf("\xC3\xA9x", 2), 2u);
  EXPECT_EQ(LeadingOf(Utf8({'e', 0x301, 'x'}), 1), 2u);    // one character of two
  EXPECT_EQ(LeadingOf(Utf8({0x344, 'x'}), 2), 4u);         // two of one
  EXPECT_EQ(LeadingOf(Utf8({0x958, 0x301, 'x'}), 3), 6u);  // two of one, then a mark
  EXPECT_EQ(LeadingOf(Utf8({'a', 0x301, 0x323}), 1), 3u);  // U+1EA1 of 'a' and the next one
  EXPECT_EQ(LeadingOf(Utf8({0x301, 0x323, 'a'}), 2), 2u);  // in another order
  EXPECT_EQ(LeadingOf(Utf8({0x1100, 0x1161, 0x11A8}), 3), 3u);
  // Behind a character that was prepended.
  EXPECT_EQ(LeadingOf(Utf8({'_', 'e', 0x301, 'x'}), 2), 3u);
  EXPECT_EQ(LeadingOf(Utf8({'e', 0x301, 0x323}), 3), 3u);
  // Nothing is, if the first character is gone.
  EXPECT_EQ(LeadingOf(Utf8({'e', 0x301}), 0), 0u);
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
