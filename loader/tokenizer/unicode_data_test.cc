#include "loader/tokenizer/unicode_data.h"

#include <unicode/uchar.h>

#include "gtest/gtest.h"

namespace mneme::loader::tokenizer_internal {
namespace {

// ICU is the second opinion on all characters that it and Unicode 15.0 know.
TEST(UnicodeDataTest, CategoriesAreIcusUpToUnicode15) {
  const CharTable& table = CharTable::Get();
  int changed = 0;
  for (UChar32 c = 0; c < 0x110000; ++c) {
    UVersionInfo age;
    u_charAge(c, age);
    const bool known = age[0] > 0 && (age[0] < 15 || (age[0] == 15 && age[1] == 0));
    if (!known) continue;
    if (table.CategoryMask(c) != U_GET_GC_MASK(c)) ++changed;
  }
  EXPECT_LE(changed, 1);  // U+1171E, a nonspacing mark until 15.1
  EXPECT_EQ(table.CategoryMask(0x1171E), uint32_t{U_GC_MC_MASK});
}

TEST(UnicodeDataTest, KnowsCharactersOfUnicode16) {
  const CharTable& table = CharTable::Get();
  EXPECT_EQ(table.CategoryMask(0x1C89), uint32_t{U_GC_LU_MASK});
  EXPECT_EQ(table.CategoryMask(0x1C8A), uint32_t{U_GC_LL_MASK});
  EXPECT_EQ(table.CategoryMask(0x897), uint32_t{U_GC_MN_MASK});
  EXPECT_EQ(table.CategoryMask(0x10D40), uint32_t{U_GC_ND_MASK});
  EXPECT_EQ(table.CategoryMask(0x2EBF0), uint32_t{U_GC_LO_MASK});
  EXPECT_EQ(table.CategoryMask(0x1FAE9), uint32_t{U_GC_SO_MASK});
  EXPECT_EQ(table.CategoryMask(0x378), uint32_t{U_GC_CN_MASK});
}

TEST(UnicodeDataTest, ClassesFollowCategories) {
  const CharTable& table = CharTable::Get();
  EXPECT_EQ(table.Class('a'), CharClass::kLetter);
  EXPECT_EQ(table.Class(0x4E00), CharClass::kLetter);
  EXPECT_EQ(table.Class(0x301), CharClass::kMark);
  EXPECT_EQ(table.Class(0xB2), CharClass::kNumber);
  EXPECT_EQ(table.Class(0x3007), CharClass::kNumber);
  EXPECT_EQ(table.Class(0x85), CharClass::kSpace);
  EXPECT_EQ(table.Class(0x2028), CharClass::kSpace);
  EXPECT_EQ(table.Class('_'), CharClass::kOther);
  EXPECT_EQ(table.Class(0x200B), CharClass::kOther);
}

TEST(UnicodeDataTest, WhiteSpaceIsIcusProperty) {
  int count = 0;
  for (UChar32 c = 0; c < 0x110000; ++c) {
    ASSERT_EQ(IsWhiteSpace(c), static_cast<bool>(u_hasBinaryProperty(c, UCHAR_WHITE_SPACE))) << c;
    count += IsWhiteSpace(c);
  }
  EXPECT_EQ(count, 25);
}

TEST(UnicodeDataTest, WordCharactersAreAlphabeticMarksDigitsConnectorsAndJoiners) {
  for (UChar32 c = 0; c < 0x110000; ++c) {
    UVersionInfo age;
    u_charAge(c, age);
    if (age[0] == 0) continue;
    const uint32_t mask = U_GET_GC_MASK(c);
    const bool expected = u_hasBinaryProperty(c, UCHAR_ALPHABETIC) ||
                          (mask & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) || c == 0x200C ||
                          c == 0x200D;
    ASSERT_EQ(IsWordCharacter(c), expected) << std::hex << c;
  }
  EXPECT_FALSE(IsWordCharacter(0xB2));
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
