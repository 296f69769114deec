#include "loader/pack/float_reader.h"

#include <bit>
#include <cstring>

#include "kernels/tensor/tensor.h"

namespace mneme::loader {
namespace {

// IEEE 754 binary16, every value of which a float32 has.
float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  // Subnormal: a multiple of 2^-24. Else the exponent moves from a bias of 15 to one of 127;
  // infinity and NaN have the highest of either.
  const float small = static_cast<float>(magnitude) * 0x1p-24f;
  const uint32_t normal = (magnitude << 13) + ((magnitude < 0x7c00 ? 127u - 15 : 255u - 31) << 23);
  const uint32_t value = magnitude < 0x0400 ? std::bit_cast<uint32_t>(small) : normal;
  return std::bit_cast<float>(sign | value);
}

}  // namespace

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
  const bool half = tensor.dtype == StoredDType::kF16;
  for (size_t i = 0; i < out.size(); ++i) {
    kernels::Bf16 x;
    std::memcpy(&x, source + i * sizeof x, sizeof x);
    out[i] = half ? HalfToFloat(x.bits) : kernels::ToFloat(x);
  }
  if (!half || rounding == Rounding::kExact) return;
  for (float& x : out) x = kernels::ToFloat(kernels::ToBf16(x));
}

}  // namespace mneme::loader
