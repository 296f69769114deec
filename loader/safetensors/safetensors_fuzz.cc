// Any bytes are either refused with a message or give tensors that lie inside them.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "loader/safetensors/safetensors_header.h"
#include "loader/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::ParseSafetensors;
  const std::span<const uint8_t> file(data, size);
  const auto header = ParseSafetensors(file, "fuzz");
  if (!header.ok()) {
    const std::string message(header.status().message());
    // A message is short and printable, whatever the file says.
    if (message.size() > mneme::loader::kMaxMessageBytes ||
        mneme::loader::FirstInvalidUtf8(message) >= 0) {
      __builtin_trap();
    }
    return 0;
  }
  size_t covered = 0;
  for (const auto& [name, tensor] : header->tensors) {
    if (tensor.bytes.data() < data || tensor.bytes.data() + tensor.bytes.size() > data + size) {
      __builtin_trap();
    }
    if (static_cast<size_t>(tensor.elements() * StoredDTypeBytes(tensor.dtype)) !=
        tensor.bytes.size()) {
      __builtin_trap();
    }
    covered += tensor.bytes.size();
  }
  if (covered + 8 > size) __builtin_trap();
  return 0;
}
