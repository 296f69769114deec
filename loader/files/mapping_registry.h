// Which file lies where in memory, so that a fault in a mapping can say what it was that could not
// be read.
//
// A file that is cut short, or whose disk fails, while it is mapped raises SIGBUS on access, in
// whichever thread reads it. Nothing can be served then; what is left to do is to say why.
#ifndef MNEME_LOADER_FILES_MAPPING_REGISTRY_H_
#define MNEME_LOADER_FILES_MAPPING_REGISTRY_H_

#include <cstdint>
#include <span>
#include <string>

namespace mneme::loader {

// One mapping's entry for as long as this lives. Movable. Threads may enter and leave as they like,
// also while another one faults.
class MappingEntry {
 public:
  MappingEntry() = default;
  // `bytes` are those of the file at `path` from `offset` on. REQUIRES: they stay mapped until the
  // entry is gone, and nothing else is entered for their addresses.
  MappingEntry(std::span<const uint8_t> bytes, const std::string& path, int64_t offset);
  MappingEntry(MappingEntry&& other) noexcept;
  MappingEntry& operator=(MappingEntry&& other) noexcept;
  MappingEntry(const MappingEntry&) = delete;
  MappingEntry& operator=(const MappingEntry&) = delete;
  ~MappingEntry();

 private:
  void* slot_ = nullptr;
};

// Entries there are now.
int64_t MappingEntries();

// From now on a SIGBUS in an entered mapping writes one line to standard error, which names the
// file and the byte, before it ends the process, however many threads it hits. One elsewhere, or
// one that somebody sent, is left to what was in force before. The handler allocates and locks
// nothing. For `main` to call: signals belong to the process. More calls do nothing.
void ReportMappingFaults();

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FILES_MAPPING_REGISTRY_H_
