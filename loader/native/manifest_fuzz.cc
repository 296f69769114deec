// Any text is either refused with a message or is a manifest that prints to itself, and whose
// tensors lie inside its shards.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/native/manifest.h"
#include "loader/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::Manifest;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = Manifest::Parse(text, "fuzz");
  if (!manifest.ok()) {
    const std::string message(manifest.status().message());
    if (message.size() > mneme::loader::kMaxMessageBytes ||
        mneme::loader::FirstInvalidUtf8(message) >= 0) {
      __builtin_trap();
    }
    return 0;
  }
  for (const mneme::loader::ManifestWeight& weight : manifest->weights) {
    for (const mneme::loader::ManifestTensor& tensor : weight.tensors) {
      const auto& shard = manifest->shards.at(static_cast<size_t>(tensor.shard - 1));
      if (tensor.offset < shard.header_bytes || tensor.bytes <= 0 ||
          tensor.bytes > shard.bytes - tensor.offset) {
        __builtin_trap();
      }
    }
  }
  const auto again = Manifest::Parse(manifest->Print(), "again");
  if (!again.ok() || *again != *manifest) __builtin_trap();
  return 0;
}
