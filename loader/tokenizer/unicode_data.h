// Character classes of Unicode 16, whatever the version of the system's libraries.
//
// ICU gives the classes of its own version; a short table carries it to 16 (characters assigned or
// changed since Unicode 15.0, the version of ICU 72), and what is newer than 16 counts as
// unassigned. An ICU older than 72 is not supported.
#ifndef MNEME_LOADER_TOKENIZER_UNICODE_DATA_H_
#define MNEME_LOADER_TOKENIZER_UNICODE_DATA_H_

#include <array>
#include <cstdint>
#include <vector>

namespace mneme::loader::tokenizer_internal {

// What patterns ask about a character. Letter: \p{L}; mark: \p{M}; number: \p{N}; space:
// White_Space, which goes before the others. Anything else is kOther.
enum class CharClass : uint8_t { kOther, kLetter, kMark, kNumber, kSpace };

// Two-stage table over all code points, built on first use (a few ms, about 90 KiB).
class CharTable {
 public:
  static const CharTable& Get();

  CharClass Class(char32_t c) const { return static_cast<CharClass>(Entry(c) >> 5); }
  // General category as ICU's bit set with one bit set, e.g. U_GC_LU_MASK.
  uint32_t CategoryMask(char32_t c) const { return uint32_t{1} << (Entry(c) & 31); }

 private:
  using Page = std::array<uint8_t, 256>;  // category | class << 5
  CharTable();
  uint8_t Entry(char32_t c) const { return pages_[page_of_[c >> 8]][c & 0xFF]; }

  uint16_t page_of_[0x110000 >> 8];
  std::vector<Page> pages_;
};

// White_Space: the 25 characters that \s matches.
bool IsWhiteSpace(char32_t c);

// \w of Rust's regular expressions: Alphabetic, M, Nd, Pc, U+200C, U+200D.
bool IsWordCharacter(char32_t c);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_UNICODE_DATA_H_
