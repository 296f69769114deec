// Text from files in messages: checked, shortened, printable.
#ifndef MNEME_LOADER_TEXT_TEXT_H_
#define MNEME_LOADER_TEXT_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mneme::loader {

// The byte offset of the first byte that is not part of well-formed UTF-8 (no surrogates, no
// overlong forms, at most U+10FFFF), or -1 when all of `text` is.
int64_t FirstInvalidUtf8(std::string_view text);

// The most bytes of a quotation: 120 of the text, escapes counted as they are written, "..." and
// the two quotes. The longest real tensor names have about 80 bytes.
inline constexpr size_t kMaxQuotedBytes = 120 + 3 + 2;

// The most bytes of a refusal of a file that has a short name of its own, which the fuzz targets
// check: up to three quotations (375), two shapes (2 x 200; see kShownDimensions of
// loader/checkpoint) and some two hundred bytes of words and numbers.
inline constexpr size_t kMaxMessageBytes = 1000;

// `text` between double quotes, for a message: at most kMaxQuotedBytes, control characters and
// bytes that are not UTF-8 escaped, no character cut in two.
std::string Quote(std::string_view text);

// The first three of them quoted, and how many others there are: "a", "b", "c" and 4 more.
std::string QuoteFew(std::span<const std::string> texts);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TEXT_TEXT_H_
