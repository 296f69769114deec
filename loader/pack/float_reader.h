// Elements of a stored tensor as float32, whatever their dtype and alignment.
#ifndef MNEME_LOADER_PACK_FLOAT_READER_H_
#define MNEME_LOADER_PACK_FLOAT_READER_H_

#include <cstdint>
#include <span>

#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// How stored values become the values that are served.
enum class Rounding : uint8_t { kExact, kBf16 };

// out[i] = element first + i of `tensor` (row-major), rounded to the nearest bf16 when asked.
// REQUIRES: dtype F32, BF16 or F16, and first + out.size() elements or more.
void ReadFloats(const StoredTensor& tensor, int64_t first, Rounding rounding, std::span<float> out);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_FLOAT_READER_H_
