// Text of messages. Debian's Abseil has a string_view of its own, which std's does not convert to.
#ifndef MNEME_LOADER_TOKENIZER_MESSAGE_H_
#define MNEME_LOADER_TOKENIZER_MESSAGE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace mneme::loader::tokenizer_internal {

inline absl::string_view AsMessagePart(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}
inline absl::string_view AsMessagePart(const std::string& text) { return text; }
inline absl::string_view AsMessagePart(const char* text) { return text; }
inline absl::string_view AsMessagePart(absl::string_view text) { return text; }
template <class Number>
Number AsMessagePart(Number number) {
  return number;
}

// The parts, texts and numbers, one behind the other.
template <class... Parts>
std::string Message(const Parts&... parts) {
  return absl::StrCat(AsMessagePart(parts)...);
}

inline std::string_view MessageOf(const absl::Status& status) {
  return std::string_view(status.message().data(), status.message().size());
}

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_MESSAGE_H_
