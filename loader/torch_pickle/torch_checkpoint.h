// The trainer's `model.pt`: a zip of uncompressed records, one pickle that describes tensors and
// one raw little-endian file per storage. Tensors whose elements lie one after the other stay
// mapped; other views (transposed, strided) are gathered into memory.
#ifndef MNEME_LOADER_TORCH_PICKLE_TORCH_CHECKPOINT_H_
#define MNEME_LOADER_TORCH_PICKLE_TORCH_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "loader/files/mapped_file.h"

namespace mneme::loader {

struct TorchTensors {
  std::map<std::string, StoredTensor> tensors;  // bytes point into the file or into `gathered`
  std::vector<std::vector<uint8_t>> gathered;
};

// Parses and checks a whole file; `name` is what messages call it. INVALID_ARGUMENT naming file,
// tensor or record, and values. Time is linear in directory and pickle, and in the elements that
// are gathered; gathered bytes never exceed the file's. `file` must outlive the result.
absl::StatusOr<TorchTensors> ParseTorchCheckpoint(std::span<const uint8_t> file,
                                                  const std::string& name);

class TorchCheckpointFile : public TensorFiles {
 public:
  static absl::StatusOr<std::shared_ptr<const TorchCheckpointFile>> Open(const std::string& path);

  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_.tensors; }
  int64_t file_bytes() const override { return static_cast<int64_t>(file_.bytes().size()); }
  void DropPages(std::span<const uint8_t> part) const override { file_.DropPages(part); }
  std::vector<FileState> states() const override { return {file_.state()}; }

 private:
  TorchCheckpointFile() = default;

  MappedFile file_;
  TorchTensors tensors_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TORCH_PICKLE_TORCH_CHECKPOINT_H_
