#include "loader/pack/float_reader.h"

#include <cstring>

#include "kernels/tensor/tensor.h"

namespace mneme::loader {

void ReadFloats(const StoredTensor& tensor, int64_t first, Rounding rounding,
                std::span<float> out) {
  const int64_t width = StoredDTypeBytes(tensor.dtype);
  const uint8_t* source = tensor.bytes.data() + first * width;
  if (tensor.dtype == StoredDType::kF32) {
    std::memcpy(out.data(), source, out.size_bytes());
    if (rounding == Rounding::kBf16) {
      for (float& x : out) x = kernels::ToFloat(kernels::ToBf16(x));
    }
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    kernels::Bf16 x;
    std::memcpy(&x, source + i * sizeof x, sizeof x);
    out[i] = kernels::ToFloat(x);
  }
}

}  // namespace mneme::loader
