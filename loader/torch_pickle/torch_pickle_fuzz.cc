// Any bytes, as a file or as its pickle, are either refused with a message or give tensors with as
// many bytes as their shapes say, all of which can be read.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "loader/text/text.h"
#include "loader/torch_pickle/pickle_machine.h"
#include "loader/torch_pickle/torch_checkpoint.h"

namespace {

void CheckMessage(const absl::Status& status) {
  const std::string message(status.message());
  if (message.size() > mneme::loader::kMaxMessageBytes ||
      mneme::loader::FirstInvalidUtf8(message) >= 0) {
    __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  const auto pickled = mneme::loader::RunPickle(bytes);
  if (!pickled.ok()) CheckMessage(pickled.status());
  const auto parsed = mneme::loader::ParseTorchCheckpoint(bytes, "fuzz");
  if (!parsed.ok()) {
    CheckMessage(parsed.status());
    return 0;
  }
  unsigned sum = 0;
  for (const auto& [name, tensor] : parsed->tensors) {
    if (static_cast<size_t>(tensor.elements() * StoredDTypeBytes(tensor.dtype)) !=
        tensor.bytes.size()) {
      __builtin_trap();
    }
    for (const uint8_t byte : tensor.bytes) sum += byte;
  }
  // Keeps the reads, which a sanitizer watches.
  asm volatile("" : : "r"(sum));
  return 0;
}
