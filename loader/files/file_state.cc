#include "loader/files/file_state.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "absl/strings/str_cat.h"

namespace mneme::loader {

std::string FileState::modified() const {
  const time_t seconds = modified_seconds;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[64];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text + size, sizeof text - size, ".%09dZ", static_cast<int>(modified_nanos));
  return text;
}

FileState StateOf(const std::string& path, const struct stat& status) {
  return {.path = path,
          .bytes = status.st_size,
          .modified_seconds = status.st_mtim.tv_sec,
          .modified_nanos = status.st_mtim.tv_nsec,
          .device = status.st_dev,
          .inode = status.st_ino};
}

absl::StatusOr<FileState> ReadFileState(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) return StateOf(path, status);
  const int error = errno;
  const std::string message = absl::StrCat(path, ": cannot stat: ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

absl::Status CheckSameState(const FileState& then, const char* since) {
  absl::StatusOr<FileState> now = ReadFileState(then.path);
  if (!now.ok()) return now.status();
  if (then.inode == 0) {
    now->device = then.device;
    now->inode = 0;
  }
  if (*now == then) return absl::OkStatus();
  std::string difference;
  if (now->bytes != then.bytes) {
    difference = absl::StrCat("had ", then.bytes, " bytes, has ", now->bytes);
  } else if (now->modified() != then.modified()) {
    difference = absl::StrCat("was modified ", then.modified(), ", is ", now->modified());
  } else {
    difference = absl::StrCat("was file ", then.device, ":", then.inode, ", is ", now->device, ":",
                              now->inode);
  }
  return absl::FailedPreconditionError(
      absl::StrCat(then.path, ": has changed ", since, ": ", difference));
}

}  // namespace mneme::loader
