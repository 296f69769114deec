#include "loader/safetensors/safetensors.h"

#include <utility>

namespace mneme::loader {

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(file->bytes(), path);
  if (!header.ok()) return header.status();
  std::shared_ptr<SafetensorsFile> opened(new SafetensorsFile);
  opened->file_ = *std::move(file);
  opened->header_ = *std::move(header);
  return opened;
}

}  // namespace mneme::loader
