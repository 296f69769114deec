#include "loader/tokenizer/json_character.h"

#include <string_view>

#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

absl::StatusOr<char32_t> ReadCharacter(const JsonField& field) {
  const absl::StatusOr<std::string_view> text = field.String();
  if (!text.ok() || text->empty()) return field.Expected("a string of one character");
  const Utf8Char c = DecodeUtf8(*text);
  if (c.size != text->size()) return field.Expected("a string of one character");
  return c.code_point;
}

}  // namespace mneme::loader::tokenizer_internal
