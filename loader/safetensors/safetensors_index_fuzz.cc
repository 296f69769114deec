// Any text is either refused with a message or gives plain file names only.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/safetensors/sharded_safetensors.h"
#include "loader/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto places = mneme::loader::ParseSafetensorsIndex(text, "fuzz");
  if (!places.ok()) {
    const std::string message(places.status().message());
    if (message.size() > mneme::loader::kMaxMessageBytes ||
        mneme::loader::FirstInvalidUtf8(message) >= 0) {
      __builtin_trap();
    }
    return 0;
  }
  if (places->empty()) __builtin_trap();
  for (const auto& [tensor, file] : *places) {
    if (file.empty() || file.find('/') != std::string::npos || file == "..") __builtin_trap();
  }
  return 0;
}
