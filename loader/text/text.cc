#include "loader/text/text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

// Names longer than this are cut in messages; the longest real tensor names have about 80 bytes.
constexpr size_t kQuotedBytes = 120;

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
  std::string_view shown = text.substr(0, kQuotedBytes);
  if (shown.size() < text.size()) {
    // Do not cut a character in two.
    while (!shown.empty() && (static_cast<uint8_t>(text[shown.size()]) & 0xc0) == 0x80) {
      shown.remove_suffix(1);
    }
  }
  const char* rest = shown.size() < text.size() ? "..." : "";
  const std::string escaped = FirstInvalidUtf8(shown) < 0
                                  ? absl::Utf8SafeCEscape({shown.data(), shown.size()})
                                  : absl::CEscape({shown.data(), shown.size()});
  return absl::StrCat("\"", escaped, rest, "\"");
}

}  // namespace mneme::loader
