#include "loader/native/output_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::loader {
namespace {

absl::Status SystemError(const std::string& path, const char* doing, int error) {
  const std::string message = absl::StrCat(path, ": cannot ", doing, ": ", std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EFBIG:  // however much room there is
      return absl::FailedPreconditionError(
          absl::StrCat(message, " (for this process: ulimit -f; or for the file system)"));
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// Where the file system cannot reserve, the file only gets its size.
absl::Status Reserve(int fd, const std::string& partial, int64_t bytes) {
  int error = 0;
  do {
    error = fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == EOPNOTSUPP || error == ENOSYS) error = ftruncate(fd, bytes) == 0 ? 0 : errno;
  if (error != 0) {
    return SystemError(partial, absl::StrCat("reserve ", bytes, " bytes").c_str(), error);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OutputFile> OutputFile::Create(const std::string& path, int64_t bytes) {
  const std::string partial = path + kPartialSuffix;
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return SystemError(partial, "create", errno);
  OutputFile file(path, fd);
  if (bytes > 0) {
    if (absl::Status status = Reserve(fd, partial, bytes); !status.ok()) return status;
  }
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      exists_(std::exchange(other.exists_, false)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(exists_, other.exists_);
  return *this;
}

OutputFile::~OutputFile() {
  Suspend();
  if (exists_) unlink((path_ + kPartialSuffix).c_str());
}

void OutputFile::Suspend() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

absl::Status OutputFile::Resume() {
  if (fd_ >= 0) return absl::OkStatus();
  const std::string partial = path_ + kPartialSuffix;
  fd_ = open(partial.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd_ >= 0 ? absl::OkStatus() : SystemError(partial, "open", errno);
}

absl::Status OutputFile::Write(int64_t offset, std::span<const uint8_t> bytes) {
  if (absl::Status status = Resume(); !status.ok()) return status;
  while (!bytes.empty()) {
    const ssize_t count = pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return SystemError(path_ + kPartialSuffix, "write", count < 0 ? errno : ENOSPC);
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

void OutputFile::StartSync(int64_t offset, int64_t bytes) {
  // Advice: a failure shows when the file is synced.
  sync_file_range(fd_, offset, bytes, SYNC_FILE_RANGE_WRITE);
}

absl::Status OutputFile::Commit() {
  if (absl::Status status = Resume(); !status.ok()) return status;
  const std::string partial = path_ + kPartialSuffix;
  if (fsync(fd_) != 0) return SystemError(partial, "sync", errno);
  // What was written lies in the page cache in small pages; read from the disk again it will lie in
  // huge ones, and until then others have the memory.
  posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  if (rename(partial.c_str(), path_.c_str()) != 0) return SystemError(path_, "rename", errno);
  exists_ = false;
  const int closed = close(std::exchange(fd_, -1));
  if (closed != 0) return SystemError(path_, "close", errno);
  const size_t slash = path_.rfind('/');
  return SyncFolder(slash == std::string::npos ? "." : path_.substr(0, slash + 1));
}

absl::StatusOr<AppendedFile> AppendedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return SystemError(path, "open", errno);
  return AppendedFile(path, fd);
}

AppendedFile::AppendedFile(AppendedFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

AppendedFile& AppendedFile::operator=(AppendedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

AppendedFile::~AppendedFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status AppendedFile::Append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd_, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return SystemError(path_, "write", count < 0 ? errno : ENOSPC);
    text.remove_prefix(static_cast<size_t>(count));
  }
  // The new size comes with the data.
  return fdatasync(fd_) == 0 ? absl::OkStatus() : SystemError(path_, "sync", errno);
}

absl::Status WriteWholeFile(const std::string& path, std::string_view text) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(path, 0);
  if (!file.ok()) return file.status();
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if (absl::Status status = file->Write(0, {bytes, text.size()}); !status.ok()) return status;
  return file->Commit();
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(folder, "open", errno);
  // Not every file system syncs folders; those that do not say so.
  const int error = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : errno;
  close(fd);
  return error == 0 ? absl::OkStatus() : SystemError(folder, "sync", error);
}

int64_t FreeBytes(const std::string& folder) {
  struct statvfs status;
  if (statvfs(folder.c_str(), &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

}  // namespace mneme::loader
