// The shards of a native checkpoint, mapped: each weight's bytes as one run of addresses, also
// where they lie in blocks of several shards. Nothing but headers is read.
#ifndef MNEME_LOADER_NATIVE_NATIVE_FILES_H_
#define MNEME_LOADER_NATIVE_NATIVE_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/files/mapped_file.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

class NativeFiles : public TensorFiles {
 public:
  // Maps the shards that the manifest of `directory` lists, of which one at a time is open. Errors
  // name the file and the values: NOT_FOUND for a shard that is missing; FAILED_PRECONDITION for
  // one of another size, of another conversion, of another place in it or of a newer format, and
  // for tensors that are not where the manifest has them; INVALID_ARGUMENT for what is no shard.
  static absl::StatusOr<std::shared_ptr<const NativeFiles>> Open(const std::string& directory,
                                                                 const Manifest& manifest);

  // By weight, not by tensor: a weight in blocks is one tensor, named like the weight, of which
  // `file` is the first block's; a stack's matrices are as they are in the shards. A table has rows
  // of row_stride bytes.
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override;
  void DropPages(std::span<const uint8_t> part) const override;

 private:
  NativeFiles() = default;
  struct Shard;  // what the manifest says of one
  absl::Status Add(const Manifest& manifest, const Shard& shard, const OpenFile& file);
  void AddWeight(const std::string& directory, const Manifest& manifest,
                 const ManifestWeight& weight);

  std::vector<MappedFile> shards_;
  std::map<std::string, MappedRange> ranges_;  // of weights in blocks, by name
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_NATIVE_FILES_H_
