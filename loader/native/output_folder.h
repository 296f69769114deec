// The folder that a conversion writes: whose it is, and the lock on it.
#ifndef MNEME_LOADER_NATIVE_OUTPUT_FOLDER_H_
#define MNEME_LOADER_NATIVE_OUTPUT_FOLDER_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "loader/native/journal.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

class OutputFolder {
 public:
  // Makes the folder if it is not there and locks it against other processes until it is destroyed
  // (or the process ends, however it does). ABORTED when one has it, FAILED_PRECONDITION naming an
  // entry when there are files in it but neither a journal nor a manifest.
  static absl::StatusOr<OutputFolder> Open(const std::string& path);
  OutputFolder(OutputFolder&& other) noexcept;
  OutputFolder& operator=(OutputFolder&& other) noexcept;
  ~OutputFolder();

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  // What an earlier run left, if it did.
  const std::optional<Journal>& journal() const { return journal_; }
  const std::optional<Manifest>& manifest() const { return manifest_; }

 private:
  OutputFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status ReadState();

  std::string path_;
  int lock_ = -1;
  std::optional<Journal> journal_;
  std::optional<Manifest> manifest_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_OUTPUT_FOLDER_H_
