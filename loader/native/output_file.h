// Files that are whole or not there: written as NAME.partial, synced, renamed, and the folder
// synced, so that after a crash at any moment NAME is either complete or absent.
#ifndef MNEME_LOADER_NATIVE_OUTPUT_FILE_H_
#define MNEME_LOADER_NATIVE_OUTPUT_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mneme::loader {

inline constexpr char kPartialSuffix[] = ".partial";

// A file of a known size whose bytes are written in any order; what is not written is zero. Errors
// name the file and say what the system says; RESOURCE_EXHAUSTED where there is no room,
// FAILED_PRECONDITION where no file may be so large.
class OutputFile {
 public:
  // An empty `path`.partial of `bytes` zeros, whatever was there before, with the disk's blocks
  // reserved where the file system can.
  static absl::StatusOr<OutputFile> Create(const std::string& path, int64_t bytes);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();  // what was not committed is removed

  // Holds no descriptor until the next call; the file stays.
  void Suspend();
  absl::Status Write(int64_t offset, std::span<const uint8_t> bytes);
  // Begins to bring what was written to the disk, without waiting for it.
  void StartSync(int64_t offset, int64_t bytes);
  // Makes it durable under its own name.
  absl::Status Commit();

 private:
  OutputFile(std::string path, int fd) : path_(std::move(path)), fd_(fd), exists_(true) {}
  absl::Status Resume();

  std::string path_;
  int fd_ = -1;
  bool exists_ = false;  // under its partial name
};

// A file that grows by whole pieces, each on the disk when Append returns. After a crash the last
// piece may be there in part. Errors are those of OutputFile.
class AppendedFile {
 public:
  // Of a file that is there.
  static absl::StatusOr<AppendedFile> Open(const std::string& path);
  AppendedFile(AppendedFile&& other) noexcept;
  AppendedFile& operator=(AppendedFile&& other) noexcept;
  ~AppendedFile();

  absl::Status Append(std::string_view text);

 private:
  AppendedFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_ = -1;
};

// A small file in one go.
absl::Status WriteWholeFile(const std::string& path, std::string_view text);
// So that the names in it last.
absl::Status SyncFolder(const std::string& folder);
// Bytes that this process may still write on the folder's file system; -1 where it does not say.
int64_t FreeBytes(const std::string& folder);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_OUTPUT_FILE_H_
