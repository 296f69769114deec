#include "loader/safetensors/safetensors.h"

#include <utility>

namespace mneme::loader {

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  const absl::StatusOr<OpenFile> file = OpenFile::Open(path);
  if (!file.ok()) return file.status();
  return Open(*file, path);
}

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const OpenFile& file, const std::string& name) {
  absl::StatusOr<MappedFile> mapped = MappedFile::Map(file);
  if (!mapped.ok()) return mapped.status();
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(mapped->bytes(), name);
  if (!header.ok()) return header.status();
  std::shared_ptr<SafetensorsFile> opened(new SafetensorsFile);
  opened->file_ = *std::move(mapped);
  opened->header_ = *std::move(header);
  return opened;
}

}  // namespace mneme::loader
