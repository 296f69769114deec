// Regular files mapped read-only, and small files read whole.
#ifndef MNEME_LOADER_FILES_MAPPED_FILE_H_
#define MNEME_LOADER_FILES_MAPPED_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/files/file_state.h"
#include "loader/files/mapping_registry.h"

namespace mneme::loader {

// A regular file that is open for reading: what is mapped of it is of one file, whatever happens to
// its name. Movable; closed in the destructor, which leaves mappings as they are.
class OpenFile {
 public:
  // What to do where `path` is a symbolic link (of the folders on the way to it all are followed).
  enum class Link : uint8_t { kFollow, kRefuse };
  // NOT_FOUND where there is no such file, INVALID_ARGUMENT for what is no regular file, else the
  // system's error; all name the path.
  static absl::StatusOr<OpenFile> Open(const std::string& path, Link link = Link::kFollow);
  OpenFile() = default;
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();

  const std::string& path() const { return state_.path; }
  int64_t bytes() const { return state_.bytes; }  // when it was opened
  const FileState& state() const { return state_; }
  int descriptor() const { return fd_; }

 private:
  int fd_ = -1;
  FileState state_;  // when it was opened
};

// Pieces of files in one range of addresses: what a writer had to spread over several files is read
// as one. Movable; the bytes stay where they are when it moves.
class MappedRange {
 public:
  struct Piece {
    const OpenFile* file = nullptr;  // needed until it is mapped
    int64_t offset = 0;
    int64_t bytes = 0;
  };
  // Addresses for so many bytes, the first a multiple of 2 MiB, for Fill to map pieces at; what is
  // not filled must not be read. RESOURCE_EXHAUSTED naming `path`, whatever it is of, when the
  // system has no such range. REQUIRES: bytes >= 0.
  static absl::StatusOr<MappedRange> Reserve(int64_t bytes, const std::string& path);
  // The piece becomes bytes [place, place + piece.bytes) of the range. Its file may be closed
  // afterwards, so that a range of more files than a process may have open is filled one after the
  // other, in any order. INVALID_ARGUMENT names file and values where the piece reaches beyond its
  // file or beyond the range, or where a page would be shared: place and offset, and the size
  // unless it ends the range, are multiples of the page size. REQUIRES: nothing was filled there.
  absl::Status Fill(int64_t place, const Piece& piece);
  // A range of pieces one behind the other. Errors: those of Reserve and Fill.
  static absl::StatusOr<MappedRange> Map(const std::vector<Piece>& pieces);
  MappedRange() = default;
  MappedRange(MappedRange&& other) noexcept;
  MappedRange& operator=(MappedRange&& other) noexcept;
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;
  ~MappedRange();

  std::span<const uint8_t> bytes() const { return bytes_; }
  // Gives back the memory of the whole pages inside `part`; they are read again when touched again.
  // Bytes that are not of this mapping are left alone.
  void DropPages(std::span<const uint8_t> part) const;

 private:
  std::span<const uint8_t> bytes_;
  void* reserved_ = nullptr;  // what the range lies in
  size_t reserved_bytes_ = 0;
  std::vector<MappingEntry> entries_;
};

// Owner of a mapping of a whole file. Movable; the bytes stay where they are when it moves. A file
// that another process cuts short while it is mapped raises SIGBUS on access (mapping_registry.h):
// checkpoints must be replaced by renaming, never overwritten in place. Safe to read from several
// threads.
class MappedFile {
 public:
  // Errors: those of OpenFile::Open. An empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  static absl::StatusOr<MappedFile> Map(const OpenFile& file);
  MappedFile() = default;

  std::span<const uint8_t> bytes() const { return range_.bytes(); }
  // As MappedRange's.
  void DropPages(std::span<const uint8_t> part) const { range_.DropPages(part); }
  // What is read from the disk from now on comes in pieces of 2 MiB where the system can do that,
  // which then are huge pages: for files that are read in address order.
  void ReadInHugePages() const;
  // Of the file that is mapped, when it was opened.
  const FileState& state() const { return state_; }

 private:
  FileState state_;
  MappedRange range_;
};

// All of a file of at most max_bytes; INVALID_ARGUMENT with both sizes when it is larger.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes);

// True when `path` names something that exists.
bool FileExists(const std::string& path);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FILES_MAPPED_FILE_H_
