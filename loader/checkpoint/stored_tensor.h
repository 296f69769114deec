// A tensor as it lies in a file, and the set of a checkpoint's files. The readers of file formats
// (loader/safetensors, loader/torch_pickle) produce these; nothing here knows a model.
#ifndef MNEME_LOADER_CHECKPOINT_STORED_TENSOR_H_
#define MNEME_LOADER_CHECKPOINT_STORED_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "loader/files/file_state.h"

namespace mneme::loader {

// Element types that files may hold. Models are served from kF32, kBf16 and kF16 weights (and
// integer index tensors).
enum class StoredDType : uint8_t { kF32, kBf16, kF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };
const char* StoredDTypeName(StoredDType dtype);  // "F32", "BF16", ...
int64_t StoredDTypeBytes(StoredDType dtype);

// One tensor of a file. bytes points into the mapped file: row-major, little-endian, aligned to at
// least the element size or not at all (use memcpy or the packer, never a cast without a check).
struct StoredTensor {
  std::string name;
  std::string file;
  StoredDType dtype = StoredDType::kF32;
  std::vector<int64_t> shape;
  std::span<const uint8_t> bytes;
  // Where its first element lies, in bytes: from the beginning of a safetensors file's data, or of
  // a whole model.pt.
  int64_t place = 0;

  // Product of the shape; 1 for a scalar.
  int64_t elements() const;
  // "[2, 3] F32", for messages.
  std::string Describe() const;
};

// Product of the sizes into *elements. False when a size is negative or the product of the sizes
// other than 0 does not fit: then no product of some of them can be trusted either.
bool CountElements(std::span<const int64_t> shape, int64_t* elements);

// Sizes that ShapeString lists. Ours have five at most, a safetensors header may have 64.
inline constexpr size_t kShownDimensions = 8;

// "[2, 3]"; of more than kShownDimensions the first ones: "[1, 1, 1, 1, 1, 1, 1, 1, ... 64 in
// all]".
std::string ShapeString(std::span<const int64_t> shape);

// The tensors of a checkpoint's file or files, by name. Owns the mappings.
class TensorFiles {
 public:
  virtual ~TensorFiles() = default;
  virtual const std::map<std::string, StoredTensor>& tensors() const = 0;
  // Bytes of all files.
  virtual int64_t file_bytes() const = 0;
  // Gives back the memory behind `part` of a tensor's bytes where it is a mapped file's (it is read
  // again when touched); does nothing where it is not.
  virtual void DropPages(std::span<const uint8_t> part) const = 0;
  // Of each mapped file, when it was opened, in the order of their paths; empty where none is.
  virtual std::vector<FileState> states() const { return {}; }
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_CHECKPOINT_STORED_TENSOR_H_
