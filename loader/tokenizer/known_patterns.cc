#include "loader/tokenizer/known_patterns.h"

#include "loader/tokenizer/unicode_data.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// A text and the classes of its characters. The patterns know letters, numbers and white space;
// marks are like any other character.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), size_(static_cast<uint32_t>(text.size())) {}

  uint32_t size() const { return size_; }
  char operator[](uint32_t at) const { return text_[at]; }
  std::string_view From(uint32_t at) const { return text_.substr(at); }

  // The class of the character at `at`, whose end it gives. Requires at < size().
  CharClass ClassAt(uint32_t at, uint32_t* end) const {
    const Utf8Char c = DecodeUtf8(text_.substr(at));
    *end = at + c.size;
    const CharClass char_class = table_.Class(c.code_point);
    return char_class == CharClass::kMark ? CharClass::kOther : char_class;
  }
  bool IsClassAt(uint32_t at, CharClass wanted, uint32_t* end) const {
    return at < size_ && ClassAt(at, end) == wanted;
  }
  // The end of the characters of one class from `at` on, at most `limit` of them.
  uint32_t EndOfRun(uint32_t at, CharClass wanted, uint32_t limit = UINT32_MAX) const {
    for (uint32_t end; limit > 0 && IsClassAt(at, wanted, &end); --limit) at = end;
    return at;
  }
  bool IsLineEndAt(uint32_t at) const {
    return at < size_ && (text_[at] == '\r' || text_[at] == '\n');
  }

 private:
  const CharTable& table_ = CharTable::Get();
  std::string_view text_;
  uint32_t size_;
};

// Bytes of the contraction that `text` starts with ('s 't 're 've 'm 'll 'd), or 0.
uint32_t Contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char c = text[1];
  if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
  if (text.size() < 3) return 0;
  const char d = text[2];
  return (c == 'r' && d == 'e') || (c == 'v' && d == 'e') || (c == 'l' && d == 'l') ? 3 : 0;
}

// The same whatever the case. The long s is the only other character that folds to one of these.
uint32_t ContractionOfAnyCase(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text.substr(1, 2) == "\xC5\xBF") return 3;  // U+017F
  char lower[3] = {'\'', 0, 0};
  for (size_t i = 1; i < 3 && i < text.size(); ++i) {
    lower[i] =
        text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + ('a' - 'A')) : text[i];
  }
  return Contraction(std::string_view(lower, text.size() < 3 ? 2 : 3));
}

// \s+(?!\S)|\s+ at white space: all of a run at the text's end, else all but its last character,
// which goes to what follows, unless it is the only one.
uint32_t EndOfSpace(const Reader& text, uint32_t begin) {
  uint32_t end = begin, last = begin, next;
  while (text.IsClassAt(end, CharClass::kSpace, &next)) {
    last = end;
    end = next;
  }
  return end == text.size() || last == begin ? end : last;
}

// \s*[\r\n]+ at `begin`: behind the last line end of the run of white space, or `begin`.
uint32_t EndOfLines(const Reader& text, uint32_t begin) {
  uint32_t end = begin;
  for (uint32_t at = begin, next; text.IsClassAt(at, CharClass::kSpace, &next); at = next) {
    if (text.IsLineEndAt(at)) end = next;
  }
  return end;
}

// One match of
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,D}| ?[^\s\p{L}\p{N}]+[\r\n]*|
//   \s*[\r\n]+|\s+(?!\S)|\s+
// at `begin`, which every character can start.
uint32_t EndOfLlama3(const Reader& text, uint32_t begin, uint32_t most_digits) {
  if (const uint32_t size = ContractionOfAnyCase(text.From(begin)); size > 0) return begin + size;
  uint32_t first_end, end;
  const CharClass first = text.ClassAt(begin, &first_end);
  if (first == CharClass::kLetter) return text.EndOfRun(first_end, CharClass::kLetter);
  if (first == CharClass::kNumber) return text.EndOfRun(begin, CharClass::kNumber, most_digits);
  if (!text.IsLineEndAt(begin) && text.IsClassAt(first_end, CharClass::kLetter, &end)) {
    return text.EndOfRun(end, CharClass::kLetter);
  }
  const uint32_t sign = text[begin] == ' ' ? first_end : begin;
  if (text.IsClassAt(sign, CharClass::kOther, &end)) {
    end = text.EndOfRun(end, CharClass::kOther);
    while (text.IsLineEndAt(end)) ++end;
    return end;
  }
  end = EndOfLines(text, begin);
  return end > begin ? end : EndOfSpace(text, begin);
}

void FindLlama3(std::string_view text, std::vector<Span>* matches) {
  const Reader reader(text);
  for (uint32_t begin = 0, end; begin < reader.size(); begin = end) {
    end = EndOfLlama3(reader, begin, 3);
    matches->push_back({begin, end});
  }
}

void FindQwen(std::string_view text, std::vector<Span>* matches) {
  const Reader reader(text);
  for (uint32_t begin = 0, end; begin < reader.size(); begin = end) {
    end = EndOfLlama3(reader, begin, 1);
    matches->push_back({begin, end});
  }
}

// `$` is the end of a line: the text's end, or before a line feed. Of a run of white space that is
// all up to the last such place, if that is not the run's start.
void FindSpaceAtLineEnd(std::string_view text, std::vector<Span>* matches) {
  const Reader reader(text);
  for (uint32_t begin = 0, at, next; begin < reader.size(); begin = at) {
    if (reader.ClassAt(begin, &at) != CharClass::kSpace) continue;
    uint32_t end = begin;
    for (at = begin; reader.IsClassAt(at, CharClass::kSpace, &next); at = next) {
      if (reader[at] == '\n') end = at;
      if (next == reader.size()) end = next;
    }
    if (end > begin) matches->push_back({begin, end});
  }
}

constexpr KnownPattern kPatterns[] = {
    {"Gpt2", kGpt2Pattern, FindGpt2},
    {"Llama3",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     FindLlama3},
    {"Qwen",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     FindQwen},
    {"SpaceAtLineEnd", R"(\s+$)", FindSpaceAtLineEnd},
};

}  // namespace

void FindGpt2(std::string_view text, std::vector<Span>* matches) {
  const Reader reader(text);
  for (uint32_t begin = 0, end; begin < reader.size(); begin = end) {
    end = begin + Contraction(reader.From(begin));
    if (end == begin) {
      const uint32_t word = begin + (reader[begin] == ' ');
      const CharClass word_class =
          word < reader.size() ? reader.ClassAt(word, &end) : CharClass::kSpace;
      end = word_class == CharClass::kSpace ? EndOfSpace(reader, begin)
                                            : reader.EndOfRun(word, word_class);
    }
    matches->push_back({begin, end});
  }
}

std::span<const KnownPattern> KnownPatterns() { return kPatterns; }

MatchFunction FindKnownPattern(std::string_view regex) {
  for (const KnownPattern& known : kPatterns) {
    if (known.regex == regex) return known.find;
  }
  return nullptr;
}

}  // namespace mneme::loader::tokenizer_internal
