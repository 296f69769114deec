// Text from files in messages: checked, shortened, printable.
#ifndef MNEME_LOADER_TEXT_TEXT_H_
#define MNEME_LOADER_TEXT_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace mneme::loader {

// The byte offset of the first byte that is not part of well-formed UTF-8 (no surrogates, no
// overlong forms, at most U+10FFFF), or -1 when all of `text` is.
int64_t FirstInvalidUtf8(std::string_view text);

// `text` between double quotes, for a message: at most about 120 bytes of it, control characters
// and bytes that are not UTF-8 escaped.
std::string Quote(std::string_view text);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TEXT_TEXT_H_
