// Index tensors that must be permutations.
#ifndef MNEME_LOADER_CHECKPOINT_PERMUTATION_H_
#define MNEME_LOADER_CHECKPOINT_PERMUTATION_H_

#include "absl/status/status.h"
#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// INVALID_ARGUMENT naming file, tensor, index and value when the elements of `tensor` are no
// permutation of 0 … n - 1. One pass over the tensor with a bit for each element; its pages are
// given back to `files` as it goes.
// REQUIRES: dtype I64, and as many bytes as the shape says.
absl::Status CheckPermutation(const StoredTensor& tensor, const TensorFiles& files);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_CHECKPOINT_PERMUTATION_H_
