// A member that is one character.
#ifndef MNEME_LOADER_TOKENIZER_JSON_CHARACTER_H_
#define MNEME_LOADER_TOKENIZER_JSON_CHARACTER_H_

#include "absl/status/statusor.h"
#include "loader/json/json_field.h"

namespace mneme::loader::tokenizer_internal {

// A string of exactly one character. Errors: those of JsonField.
absl::StatusOr<char32_t> ReadCharacter(const JsonField& field);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_JSON_CHARACTER_H_
