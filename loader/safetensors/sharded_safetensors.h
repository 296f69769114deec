// A checkpoint whose tensors lie in several safetensors files, listed in an index.
#ifndef MNEME_LOADER_SAFETENSORS_SHARDED_SAFETENSORS_H_
#define MNEME_LOADER_SAFETENSORS_SHARDED_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::loader {

inline constexpr char kIndexFile[] = "model.safetensors.index.json";

// File by tensor: the `weight_map` of an index. INVALID_ARGUMENT naming `file` and the entry for
// what is no JSON object of that form, and for a file that is not a plain name (a path, "..").
absl::StatusOr<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text,
                                                                         const std::string& file);

class ShardedSafetensors : public TensorFiles {
 public:
  // Opens the files that the index in `directory` lists. Refused by name: a file that is missing or
  // a link out of the folder (unless the index is one to the same place), a tensor in two files, a
  // tensor of the index that its file lacks, a tensor of a file that the index lacks.
  static absl::StatusOr<std::shared_ptr<const ShardedSafetensors>> Open(
      const std::string& directory);

  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override;
  void DropPages(std::span<const uint8_t> part) const override;
  std::vector<FileState> states() const override;

 private:
  ShardedSafetensors() = default;
  absl::Status Add(const std::string& index, const std::string& name,
                   std::shared_ptr<const SafetensorsFile> shard,
                   const std::map<std::string, std::string>& places);

  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards_;  // by name
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_SAFETENSORS_SHARDED_SAFETENSORS_H_
