#include "loader/tokenizer/gpt2_pattern.h"

#include "loader/tokenizer/unicode_data.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Bytes of the contraction that `text` starts with, or 0.
uint32_t Contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char c = text[1];
  if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
  if (text.size() < 3) return 0;
  const char d = text[2];
  return (c == 'r' && d == 'e') || (c == 'v' && d == 'e') || (c == 'l' && d == 'l') ? 3 : 0;
}

// The pattern knows letters, numbers and white space; marks are like any other character.
CharClass ClassAt(const CharTable& table, std::string_view text, uint32_t at, uint32_t* size) {
  const Utf8Char c = DecodeUtf8(text.substr(at));
  *size = c.size;
  const CharClass char_class = table.Class(c.code_point);
  return char_class == CharClass::kMark ? CharClass::kOther : char_class;
}

// The end of a match that starts at `begin` with white space: all of a run at the text's end, else
// all but its last character, which goes to what follows, unless it is the only one.
uint32_t EndOfSpace(const CharTable& table, std::string_view text, uint32_t begin) {
  uint32_t end = begin, last = begin, size;
  while (end < text.size() && ClassAt(table, text, end, &size) == CharClass::kSpace) {
    last = end;
    end += size;
  }
  return end == text.size() || last == begin ? end : last;
}

}  // namespace

void FindGpt2(std::string_view text, std::vector<Span>* matches) {
  const CharTable& table = CharTable::Get();
  uint32_t begin = 0;
  while (begin < text.size()) {
    uint32_t end = begin + Contraction(text.substr(begin));
    if (end == begin) {
      uint32_t size;
      uint32_t word = begin + (text[begin] == ' ');
      const CharClass char_class =
          word < text.size() ? ClassAt(table, text, word, &size) : CharClass::kSpace;
      if (char_class == CharClass::kSpace) {
        end = EndOfSpace(table, text, begin);
      } else {
        end = word + size;
        while (end < text.size() && ClassAt(table, text, end, &size) == char_class) end += size;
      }
    }
    matches->push_back({begin, end});
    begin = end;
  }
}

}  // namespace mneme::loader::tokenizer_internal
