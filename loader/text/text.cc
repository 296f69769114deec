#include "loader/text/text.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Length of the well-formed UTF-8 sequence at the start of `text` (not empty), or 0.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  size_t length = 0;
  uint8_t low = 0x80;  // bounds of the second byte: Unicode, table 3-7
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (text.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

int64_t FirstInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = SequenceLength(text.substr(at));
    if (length == 0) return static_cast<int64_t>(at);
    at += length;
  }
  return -1;
}

std::string Quote(std::string_view text) {
  constexpr size_t kRoom = kMaxQuotedBytes - (sizeof "\"...\"" - 1);
  std::string shown;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const std::string escaped = length == 0 ? absl::CEscape({text.data(), 1})
                                            : absl::Utf8SafeCEscape({text.data(), length});
    if (shown.size() + escaped.size() > kRoom) break;
    shown += escaped;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return absl::StrCat("\"", shown, text.empty() ? "" : "...", "\"");
}

std::string QuoteFew(std::span<const std::string> texts) {
  constexpr size_t kMost = 3;
  std::string shown;
  for (size_t i = 0; i < std::min(texts.size(), kMost); ++i) {
    const char* comma = i + 1 == texts.size() ? " and " : ", ";
    absl::StrAppend(&shown, i == 0 ? "" : comma, Quote(texts[i]));
  }
  if (texts.size() > kMost) absl::StrAppend(&shown, " and ", texts.size() - kMost, " more");
  return shown;
}

}  // namespace mneme::loader
