// A regular file mapped read-only, and small files read whole.
#ifndef MNEME_LOADER_FILES_MAPPED_FILE_H_
#define MNEME_LOADER_FILES_MAPPED_FILE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mneme::loader {

// Owner of a mapping. Movable; the bytes stay where they are when it moves. A file that another
// process cuts short while it is mapped raises SIGBUS on access: checkpoints must be replaced by
// renaming, never overwritten in place. Safe to read from several threads.
class MappedFile {
 public:
  // NOT_FOUND where there is no such file, INVALID_ARGUMENT for what is no regular file, else the
  // system's error; all name the path. An empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }
  // Gives back the memory of the whole pages inside `part`; they are read again when touched again.
  // Bytes that are not of this mapping are left alone.
  void DropPages(std::span<const uint8_t> part) const;

 private:
  std::span<const uint8_t> bytes_;
};

// All of a file of at most max_bytes; INVALID_ARGUMENT with both sizes when it is larger.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes);

// True when `path` names something that exists.
bool FileExists(const std::string& path);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FILES_MAPPED_FILE_H_
