#include "loader/pack/key_norms.h"

#include <cmath>
#include <vector>

namespace mneme::loader {

void ComputeKeyNorms(const StoredTensor& tensor, const KeyShape& shape, const NormDescription& norm,
                     Rounding rounding, std::span<float> inverse, std::span<float> mean) {
  const int64_t width = shape.key_dim * shape.rank;
  const double count = static_cast<double>(shape.key_dim);
  std::vector<float> key(static_cast<size_t>(width));  // [key_dim, rank]
  for (int64_t row = 0; row < shape.keys; ++row) {
    ReadFloats(tensor, row * width, rounding, key);
    for (int64_t rank = 0; rank < shape.rank; ++rank) {
      double center = 0;
      if (norm.kind == NormKind::kLayer) {
        for (int64_t i = rank; i < width; i += shape.rank) center += key[static_cast<size_t>(i)];
        center /= count;
      }
      double squares = 0;
      for (int64_t i = rank; i < width; i += shape.rank) {
        const double x = key[static_cast<size_t>(i)] - center;
        squares += x * x;
      }
      const size_t at = static_cast<size_t>(row * shape.rank + rank);
      if (!mean.empty()) mean[at] = static_cast<float>(center);
      if (!inverse.empty()) {
        inverse[at] = static_cast<float>(1.0 / std::sqrt(squares / count + norm.eps));
      }
    }
  }
}

}  // namespace mneme::loader
