// Reading and writing safetensors files.
#ifndef MNEME_LOADER_SAFETENSORS_SAFETENSORS_H_
#define MNEME_LOADER_SAFETENSORS_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/files/mapped_file.h"
#include "loader/safetensors/safetensors_header.h"

namespace mneme::loader {

// A mapped safetensors file whose header has been checked (see safetensors_header.h).
class SafetensorsFile : public TensorFiles {
 public:
  // Errors name the file; INVALID_ARGUMENT for a malformed one.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const std::string& path);
  // Of a file that messages and tensors call `name`; it may be closed afterwards.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const OpenFile& file,
                                                                     const std::string& name);

  const std::map<std::string, StoredTensor>& tensors() const override { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  int64_t file_bytes() const override { return static_cast<int64_t>(file_.bytes().size()); }
  void DropPages(std::span<const uint8_t> part) const override { file_.DropPages(part); }
  std::vector<FileState> states() const override { return {file_.state()}; }

 private:
  SafetensorsFile() = default;

  MappedFile file_;
  SafetensorsHeader header_;
};

// Writes `tensors` (name, dtype, shape, bytes; `file` is not used) and string metadata. Tensors are
// laid out by element size, largest first, then by name, each aligned to its element size. The file
// appears under `path` complete or not at all: it is written as `path`.partial, synced, and
// renamed. INVALID_ARGUMENT when names repeat or bytes do not fit shape and dtype; else the
// system's error.
absl::Status WriteSafetensors(const std::string& path, const std::vector<StoredTensor>& tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_SAFETENSORS_SAFETENSORS_H_
