// Tensors in memory, for tests.
#ifndef MNEME_LOADER_PACK_MEMORY_FILES_H_
#define MNEME_LOADER_PACK_MEMORY_FILES_H_

#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

class MemoryFiles : public TensorFiles {
 public:
  const std::map<std::string, StoredTensor>& tensors() const override { return tensors_; }
  int64_t file_bytes() const override { return 0; }
  void DropPages(std::span<const uint8_t>) const override {}

  // Float32 values 0, 1, 2, … from `first` on, `misaligned` bytes behind a cache line's beginning.
  const StoredTensor* Add(const std::string& name, std::vector<int64_t> shape, float first,
                          int64_t misaligned = 0) {
    StoredTensor* tensor = New(name, std::move(shape), StoredDType::kF32, misaligned);
    for (int64_t i = 0; i < tensor->elements(); ++i) {
      const float value = first + static_cast<float>(i);
      std::memcpy(const_cast<uint8_t*>(tensor->bytes.data()) + 4 * i, &value, 4);
    }
    return tensor;
  }

  // Zeros.
  StoredTensor* New(const std::string& name, std::vector<int64_t> shape, StoredDType dtype,
                    int64_t misaligned = 0) {
    StoredTensor& tensor = tensors_[name];
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    const auto size = static_cast<size_t>(tensor.elements() * StoredDTypeBytes(dtype));
    auto& bytes = bytes_.emplace_back(size + 64 + static_cast<size_t>(misaligned));
    const size_t line = (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    tensor.bytes =
        std::span<const uint8_t>(bytes).subspan(line + static_cast<size_t>(misaligned), size);
    return &tensor;
  }

 private:
  std::map<std::string, StoredTensor> tensors_;
  std::deque<std::vector<uint8_t>> bytes_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_MEMORY_FILES_H_
