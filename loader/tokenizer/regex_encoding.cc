#include "loader/tokenizer/regex_encoding.h"

// Oniguruma would define UChar, which is a type of ICU.
#define ONIG_ESCAPE_UCHAR_COLLISION
#include <oniguruma.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/tokenizer/unicode_data.h"

namespace mneme::loader::tokenizer_internal {

namespace {

constexpr uint32_t kAll = (uint32_t{1} << U_CHAR_CATEGORY_COUNT) - 1;
constexpr uint32_t kAlphabetic = U_GC_L_MASK | U_GC_NL_MASK;
constexpr uint32_t kGraph = kAll & ~(U_GC_Z_MASK | U_GC_CC_MASK | U_GC_CS_MASK | U_GC_CN_MASK);

struct Range {
  char32_t first, last;
};

// Marks that are Alphabetic in DerivedCoreProperties.txt 16.0.0 and are not in 15.0.0. In ascending
// order, as all lists of ranges here.
constexpr Range kAlphabeticSince15[] = {{0x363, 0x36F},     {0x897, 0x897},     {0x1DD3, 0x1DE6},
                                        {0x10D69, 0x10D69}, {0x10EFC, 0x10EFC}, {0x113B8, 0x113C0},
                                        {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113CA},
                                        {0x113CC, 0x113CD}, {0x1611E, 0x1612E}};

// Scripts.txt 16.0.0.
constexpr Range kHan[] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
    {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
    {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
    {0x30000, 0x3134A}, {0x31350, 0x323AF}};

// A character has the property when its category is in `mask`, or when it is assigned and ICU's
// property `binary` (-1: none) holds or it is in `more`.
struct Property {
  std::string_view name;  // of the engine, in lower case; empty: none, a POSIX class only
  uint32_t mask;
  int binary = -1;
  std::span<const Range> more = {};

  bool Contains(char32_t c) const {
    const uint32_t category = CharTable::Get().CategoryMask(c);
    if (category & mask) return true;
    if (c < 0x80 || category == U_GC_CN_MASK) return false;
    if (binary >= 0 &&
        u_hasBinaryProperty(static_cast<UChar32>(c), static_cast<UProperty>(binary))) {
      return true;
    }
    const auto ends_behind = [c](const Range& range) { return c <= range.last; };
    const auto range = std::find_if(more.begin(), more.end(), ends_behind);
    return range != more.end() && c >= range->first;
  }
};

// The POSIX classes that are not the same in Unicode 14; \d and \w are two of them.
constexpr Property kWord = {"word", kAlphabetic | U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK,
                            UCHAR_ALPHABETIC, kAlphabeticSince15};
constexpr std::pair<OnigCtype, Property> kPosix[] = {
    {ONIGENC_CTYPE_ALPHA, {"", kAlphabetic, UCHAR_ALPHABETIC, kAlphabeticSince15}},
    {ONIGENC_CTYPE_ALNUM, {"", kAlphabetic | U_GC_ND_MASK, UCHAR_ALPHABETIC, kAlphabeticSince15}},
    {ONIGENC_CTYPE_DIGIT, {"", U_GC_ND_MASK}},
    {ONIGENC_CTYPE_GRAPH, {"", kGraph}},
    {ONIGENC_CTYPE_PRINT, {"", kGraph | U_GC_ZS_MASK}},
    {ONIGENC_CTYPE_LOWER, {"", U_GC_LL_MASK, UCHAR_LOWERCASE}},
    {ONIGENC_CTYPE_UPPER, {"", U_GC_LU_MASK, UCHAR_UPPERCASE}},
    {ONIGENC_CTYPE_PUNCT, {"", U_GC_P_MASK | U_GC_S_MASK}},
    {ONIGENC_CTYPE_WORD, kWord}};

// By name. Other names of the same property have the same number in the engine, or stand here too.
constexpr Property kNamed[] = {{"l", U_GC_L_MASK},
                               {"m", U_GC_M_MASK},
                               {"n", U_GC_N_MASK},
                               {"p", U_GC_P_MASK},
                               {"s", U_GC_S_MASK},
                               {"z", U_GC_Z_MASK},
                               {"c", U_GC_C_MASK},
                               {"lu", U_GC_LU_MASK},
                               {"ll", U_GC_LL_MASK},
                               {"lt", U_GC_LT_MASK},
                               {"lm", U_GC_LM_MASK},
                               {"lo", U_GC_LO_MASK},
                               {"mn", U_GC_MN_MASK},
                               {"mc", U_GC_MC_MASK},
                               {"me", U_GC_ME_MASK},
                               {"nd", U_GC_ND_MASK},
                               {"nl", U_GC_NL_MASK},
                               {"no", U_GC_NO_MASK},
                               {"pc", U_GC_PC_MASK},
                               {"pd", U_GC_PD_MASK},
                               {"ps", U_GC_PS_MASK},
                               {"pe", U_GC_PE_MASK},
                               {"pi", U_GC_PI_MASK},
                               {"pf", U_GC_PF_MASK},
                               {"po", U_GC_PO_MASK},
                               {"sm", U_GC_SM_MASK},
                               {"sc", U_GC_SC_MASK},
                               {"sk", U_GC_SK_MASK},
                               {"so", U_GC_SO_MASK},
                               {"zs", U_GC_ZS_MASK},
                               {"zl", U_GC_ZL_MASK},
                               {"zp", U_GC_ZP_MASK},
                               {"cc", U_GC_CC_MASK},
                               {"cf", U_GC_CF_MASK},
                               {"cn", U_GC_CN_MASK},
                               {"co", U_GC_CO_MASK},
                               {"lc", U_GC_LC_MASK},
                               {"assigned", kAll & ~U_GC_CN_MASK},
                               {"alphabetic", kAlphabetic, UCHAR_ALPHABETIC, kAlphabeticSince15},
                               {"lowercase", U_GC_LL_MASK, UCHAR_LOWERCASE},
                               {"uppercase", U_GC_LU_MASK, UCHAR_UPPERCASE},
                               {"han", 0, -1, kHan}};

// A property, and its ranges as the engine wants them, made when a pattern first asks.
class Entry {
 public:
  void Define(const Property& property) { property_ = &property; }
  const Property* property() const { return property_; }
  const OnigCodePoint* ranges() {
    std::call_once(once_, [this] { Fill(); });
    return ranges_.data();
  }

 private:
  // The count of ranges, then first and last of each.
  void Fill() {
    ranges_ = {0};
    for (OnigCodePoint c = 0; c < 0x110000; ++c) {
      if (!property_->Contains(c)) continue;
      if (ranges_.size() > 1 && ranges_.back() + 1 == c) {
        ranges_.back() = c;
      } else {
        ranges_.insert(ranges_.end(), {c, c});
        ++ranges_[0];
      }
    }
  }

  const Property* property_ = nullptr;
  std::once_flag once_;
  std::vector<OnigCodePoint> ranges_;
};

// More than the engine has properties.
constexpr size_t kMaxProperties = 2048;
using Entries = std::array<Entry, kMaxProperties>;

// By the engine's number of the property.
Entries& AllEntries() {
  static Entries* const entries = new Entries;
  return *entries;
}

Entry* Find(OnigCtype ctype) {
  if (ctype >= kMaxProperties || AllEntries()[ctype].property() == nullptr) return nullptr;
  return &AllEntries()[ctype];
}

// The engine's own number of the property.
int Number(std::string_view name) {
  OnigUChar buffer[32];
  OnigUChar* const end = std::copy(name.begin(), name.end(), buffer);
  return ONIG_ENCODING_UTF8->property_name_to_ctype(ONIG_ENCODING_UTF8, buffer, end);
}

int PropertyNumber(OnigEncodingTypeST*, OnigUChar* name, OnigUChar* end) {
  std::string plain;
  for (const OnigUChar* c = name; c < end; ++c) {
    if (*c != ' ' && *c != '-' && *c != '_') plain.push_back(static_cast<char>(std::tolower(*c)));
  }
  // What [[:punct:]] is, by a name that 6.9.8 lacks; \p{Punct} is \p{P}.
  if (plain == "posixpunct") return ONIGENC_CTYPE_PUNCT;
  const int number = ONIG_ENCODING_UTF8->property_name_to_ctype(ONIG_ENCODING_UTF8, name, end);
  return number == ONIGENC_CTYPE_PUNCT ? Number("p") : number;
}

int IsInProperty(OnigCodePoint c, OnigCtype ctype) {
  // The engine answers for Latin 1 from a table, in every release: there \w and \b, which ask here,
  // take the superscripts and fractions for word characters; [\w], which asks for the ranges, does
  // not.
  const bool is_latin1_posix = c < 0x100 && ctype <= ONIGENC_MAX_STD_CTYPE;
  const Entry* const entry = is_latin1_posix ? nullptr : Find(ctype);
  if (entry == nullptr) return ONIG_ENCODING_UTF8->is_code_ctype(c, ctype);
  return c < 0x110000 && entry->property()->Contains(c);
}

int PropertyRanges(OnigCtype ctype, OnigCodePoint* single_bytes, const OnigCodePoint** ranges) {
  Entry* const entry = Find(ctype);
  if (entry == nullptr) {
    return ONIG_ENCODING_UTF8->get_ctype_code_range(ctype, single_bytes, ranges);
  }
  *single_bytes = 0x80;
  *ranges = entry->ranges();
  return 0;
}

OnigEncodingTypeST* Make() {
  for (const auto& [ctype, property] : kPosix) AllEntries()[ctype].Define(property);
  for (const Property& property : kNamed) {
    const int number = Number(property.name);
    if (number < 0 || number >= static_cast<int>(kMaxProperties)) continue;
    if (number != ONIGENC_CTYPE_PUNCT) AllEntries()[number].Define(property);
  }
  auto* const encoding = new OnigEncodingTypeST(*ONIG_ENCODING_UTF8);
  encoding->property_name_to_ctype = PropertyNumber;
  encoding->is_code_ctype = IsInProperty;
  encoding->get_ctype_code_range = PropertyRanges;
  return encoding;
}

}  // namespace

OnigEncodingTypeST* Unicode16Encoding() {
  static OnigEncodingTypeST* const encoding = Make();
  return encoding;
}

}  // namespace mneme::loader::tokenizer_internal
