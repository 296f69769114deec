// Which file a path names and when it was last written: what changes when somebody replaces the
// file or writes into it.
#ifndef MNEME_LOADER_FILES_FILE_STATE_H_
#define MNEME_LOADER_FILES_FILE_STATE_H_

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace mneme::loader {

struct FileState {
  std::string path;
  int64_t bytes = 0;
  int64_t modified_seconds = 0;  // since 1970, UTC
  int64_t modified_nanos = 0;
  // Together one file of the machine, by whatever name, for as long as somebody has it open or
  // mapped: some network file systems number files anew that nobody has. inode 0: not known.
  uint64_t device = 0;
  uint64_t inode = 0;

  bool operator==(const FileState&) const = default;
  std::string modified() const;  // "2026-01-31T23:59:59.123456789Z"
};

FileState StateOf(const std::string& path, const struct stat& status);
// Of what the path names now, links followed. NOT_FOUND where that is nothing, else the system's
// error; both name the path.
absl::StatusOr<FileState> ReadFileState(const std::string& path);

// FAILED_PRECONDITION naming the file and both values when the path of `then` does not name the
// same file any more (where then.inode is known), or it has another size or time; ReadFileState's
// error when it names none.
// `since` ends the sentence: "since it was opened".
absl::Status CheckSameState(const FileState& then, const char* since);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FILES_FILE_STATE_H_
