#include "loader/native/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/files/mapped_file.h"
#include "loader/native/native_checkpoint.h"
#include "loader/native/output_file.h"
#include "loader/text/text.h"

namespace mneme::loader {
namespace {

constexpr int64_t kMostJournalBytes = kMostManifestBytes;

absl::Status SystemError(const std::string& path, const char* doing, int error) {
  const std::string message = absl::StrCat(path, ": cannot ", doing, ": ", std::strerror(error));
  if (error == EACCES || error == EPERM || error == EROFS) {
    return absl::PermissionDeniedError(message);
  }
  return absl::FailedPreconditionError(message);
}

std::string ParentOf(const std::string& path) {
  std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
  if (!normal.has_filename()) normal = normal.parent_path();  // "a/"
  const std::filesystem::path parent = normal.parent_path();
  return parent.empty() ? "." : parent.string();
}

// Empty, or the name of an entry that no conversion without a journal has.
absl::StatusOr<std::string> ForeignEntry(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot list: ", error.message()));
  }
  // What is left when a conversion is killed while it writes its first journal.
  std::erase(names, std::string(kJournalName) + kPartialSuffix);
  return names.empty() ? "" : *std::min_element(names.begin(), names.end());
}

}  // namespace

absl::StatusOr<OutputFolder> OutputFolder::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(ParentOf(path), error);  // mkdir says what is wrong with it
  if (mkdir(path.c_str(), 0755) == 0) {
    // A new name lasts when the folder it is in does.
    if (absl::Status status = SyncFolder(ParentOf(path)); !status.ok()) return status;
  } else if (errno != EEXIST) {
    return SystemError(path, "make the folder", errno);
  }
  const int lock = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0) return SystemError(path, "open as a folder", errno);
  OutputFolder folder(path, lock);
  // Some network file systems do not lock; then nothing keeps a second conversion away.
  if (flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return absl::AbortedError(absl::StrCat(path, ": another process is converting into it"));
  }
  if (absl::Status status = folder.ReadState(); !status.ok()) return status;
  return folder;
}

absl::Status OutputFolder::ReadState() {
  if (FileExists(Path(kJournalName))) {
    const auto text = ReadSmallFile(Path(kJournalName), kMostJournalBytes);
    if (!text.ok()) return text.status();
    absl::StatusOr<Journal> journal = Journal::Parse(*text, Path(kJournalName));
    if (!journal.ok() && !Journal::SaysItIsOne(*text)) {
      return absl::FailedPreconditionError(absl::StrCat(
          path_,
          ": is not empty and holds no conversion: ", std::string(journal.status().message())));
    }
    if (!journal.ok()) {
      return absl::Status(journal.status().code(),
                          absl::StrCat(std::string(journal.status().message()),
                                       "; remove the folder to begin anew"));
    }
    journal_ = *std::move(journal);
  }
  if (FileExists(Path(kManifestName))) {
    absl::StatusOr<Manifest> manifest = Manifest::Read(path_);
    if (!manifest.ok()) return manifest.status();
    manifest_ = *std::move(manifest);
  }
  if (journal_.has_value() || manifest_.has_value()) return absl::OkStatus();
  const absl::StatusOr<std::string> foreign = ForeignEntry(path_);
  if (!foreign.ok()) return foreign.status();
  if (foreign->empty()) return absl::OkStatus();
  if (absl::Status unfinished = CheckUnfinished(path_); !unfinished.ok()) return unfinished;
  return absl::FailedPreconditionError(absl::StrCat(path_, ": is not empty (", Quote(*foreign),
                                                    ") and holds no conversion: has neither ",
                                                    kManifestName, " nor ", kJournalName));
}

OutputFolder::OutputFolder(OutputFolder&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      journal_(std::move(other.journal_)),
      manifest_(std::move(other.manifest_)) {}

OutputFolder& OutputFolder::operator=(OutputFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  std::swap(journal_, other.journal_);
  std::swap(manifest_, other.manifest_);
  return *this;
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace mneme::loader
