// What a checkpoint's files are, short enough to be compared by processes that must serve the same
// model, each from its own copy.
#ifndef MNEME_LOADER_CHECKPOINT_FILE_IDENTITY_H_
#define MNEME_LOADER_CHECKPOINT_FILE_IDENTITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/checkpoint.h"

namespace mneme::loader {

struct FileIdentity {
  std::string name;  // inside the checkpoint's folder
  int64_t bytes = 0;
  // 16 hexadecimal digits (XXH3): of a config or manifest all of it; of a file of tensors their
  // names, types, shapes and places. The elements are not read; a manifest has their checksums, and
  // the conversion they are of.
  std::string hash;

  bool operator==(const FileIdentity&) const = default;
};

// Of the checkpoint's texts and its files of tensors. Errors name the file.
absl::StatusOr<std::vector<FileIdentity>> IdentifyFiles(const Checkpoint& checkpoint);

// Empty, or the first file in which they differ and how: "model.safetensors: 10 bytes here, 12
// bytes there".
std::string FileDifference(const std::vector<FileIdentity>& here,
                           const std::vector<FileIdentity>& there);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_CHECKPOINT_FILE_IDENTITY_H_
