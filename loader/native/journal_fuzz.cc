// Any text is either refused with a message or is a journal that prints to itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/native/journal.h"
#include "loader/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::Journal;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto journal = Journal::Parse(text, "fuzz");
  if (!journal.ok()) {
    const std::string message(journal.status().message());
    if (message.size() > mneme::loader::kMaxMessageBytes ||
        mneme::loader::FirstInvalidUtf8(message) >= 0) {
      __builtin_trap();
    }
    return 0;
  }
  for (const auto& [shard, checksums] : journal->finished) {
    if (shard < 1 || shard > journal->shards) __builtin_trap();
  }
  const auto again = Journal::Parse(journal->Print(), "again");
  if (!again.ok() || *again != *journal) __builtin_trap();
  return 0;
}
