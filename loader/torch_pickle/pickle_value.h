// What lies on the pickle machine's stack. (A part of pickle_machine.)
#ifndef MNEME_LOADER_TORCH_PICKLE_PICKLE_VALUE_H_
#define MNEME_LOADER_TORCH_PICKLE_PICKLE_VALUE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "loader/checkpoint/stored_tensor.h"
#include "loader/safetensors/safetensors_header.h"

namespace mneme::loader::pickle {

// A pickle has about 130 bytes per tensor, so this leaves room for kMaxTensors of them.
inline constexpr size_t kMaxPickleBytes = size_t{64} << 20;
// torch.save sets dict items a thousand at a time.
inline constexpr size_t kMaxStack = 1 << 16;
inline constexpr size_t kMaxMemo = 8 << 20;
inline constexpr size_t kMaxTupleItems = 8 << 20;
inline constexpr size_t kMaxDicts = 1 << 20;
inline constexpr size_t kMaxItems = 2 << 20;
// Tensors may share one long tuple of sizes; ours have five dimensions at most.
inline constexpr uint32_t kMaxPickledDimensions = 8;
// torch.save numbers the storages. A key is named as often as the pickle likes but kept by every
// tensor, so a long one would multiply.
inline constexpr uint32_t kMaxStorageKeyBytes = 256;

enum class Global : uint8_t { kOrderedDict, kRebuildTensor, kFloat, kHalf, kBf16, kDouble, kLong };

// The global that a pickle may name `module`.`attribute`, or nullopt for every other one.
std::optional<Global> LookUpGlobal(std::string_view module, std::string_view attribute);
const char* GlobalName(Global global);
// The element type of a storage, or nullopt for a global that is none.
std::optional<StoredDType> StorageDType(Global global);

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,
  kString,
  kTuple,
  kDict,
  kGlobal,
  kStorage,
  kTensor
};

const char* KindName(Kind kind);  // "a tuple", for messages

// A small handle; what it stands for lies in the machine's tables or in the pickle.
struct Value {
  Kind kind = Kind::kNone;
  uint32_t index = 0;  // in the kind's table; length of a string; item count of a tuple
  int64_t number = 0;  // of kBool and kInt; start of a string or of a tuple's items
};

struct Storage {
  StoredDType dtype;
  std::string_view key;  // in the pickle
  int64_t elements;
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;
};

}  // namespace mneme::loader::pickle

#endif  // MNEME_LOADER_TORCH_PICKLE_PICKLE_VALUE_H_
