// The pickle of a state dict, interpreted and never executed. The machine knows only what
// torch.save (pickle protocol 2) writes for a dict of tensors; every other opcode, global and call
// is refused by name. Definition of the subset: docs/models.md, §3 The checkpoint as model.pt.
//
// Bounded: one pass over the pickle, no recursion; stack, memo and every kind of object have
// limits.
#ifndef MNEME_LOADER_TORCH_PICKLE_PICKLE_MACHINE_H_
#define MNEME_LOADER_TORCH_PICKLE_PICKLE_MACHINE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/checkpoint/stored_tensor.h"

namespace mneme::loader {

// A tensor as the pickle describes it: a strided view of a storage. Sizes and strides are not
// negative; nothing else has been checked.
struct PickledTensor {
  std::string name;
  StoredDType dtype = StoredDType::kF32;
  std::string storage;           // its key: the record `*/data/<key>`
  int64_t storage_elements = 0;  // as the pickle says
  int64_t offset = 0;            // in elements
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, as many as sizes
};

// The tensors of the dict that `pickle` describes, in its order. INVALID_ARGUMENT, without the
// file's name, with the byte where something else stands.
absl::StatusOr<std::vector<PickledTensor>> RunPickle(std::span<const uint8_t> pickle);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TORCH_PICKLE_PICKLE_MACHINE_H_
