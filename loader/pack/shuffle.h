// The shuffle of virtual slots as 32-bit numbers.
#ifndef MNEME_LOADER_PACK_SHUFFLE_H_
#define MNEME_LOADER_PACK_SHUFFLE_H_

#include <cstdint>
#include <span>

#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// out[i] = element i of `tensor`.
// REQUIRES: dtype I64, out.size() elements, each in [0, 2^31): InspectCheckpoint has checked that
// they are a permutation of 0 … out.size() - 1.
void PackShuffle(const StoredTensor& tensor, std::span<int32_t> out);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_SHUFFLE_H_
