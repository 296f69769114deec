#include "loader/pack/shuffle.h"

#include <cstring>

namespace mneme::loader {

void PackShuffle(const StoredTensor& tensor, std::span<int32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t value = 0;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
    out[i] = static_cast<int32_t>(value);
  }
}

}  // namespace mneme::loader
