// The shuffle of virtual slots as 32-bit numbers.
#ifndef MNEME_LOADER_PACK_SHUFFLE_H_
#define MNEME_LOADER_PACK_SHUFFLE_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// out[i] = element i of `tensor`. INVALID_ARGUMENT naming file, tensor, index and value when the
// elements are no permutation of 0 … out.size() - 1.
// REQUIRES: dtype I64 and out.size() elements, fewer than 2^31.
absl::Status PackShuffle(const StoredTensor& tensor, std::span<int32_t> out);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_SHUFFLE_H_
