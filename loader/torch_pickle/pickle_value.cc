#include "loader/torch_pickle/pickle_value.h"

#include <iterator>

namespace mneme::loader::pickle {
namespace {

// In the order of Global.
struct KnownGlobal {
  const char* module;
  const char* attribute;
  const char* name;
};
constexpr KnownGlobal kGlobals[] = {
    {"collections", "OrderedDict", "collections.OrderedDict"},
    {"torch._utils", "_rebuild_tensor_v2", "torch._utils._rebuild_tensor_v2"},
    {"torch", "FloatStorage", "torch.FloatStorage"},
    {"torch", "HalfStorage", "torch.HalfStorage"},
    {"torch", "BFloat16Storage", "torch.BFloat16Storage"},
    {"torch", "DoubleStorage", "torch.DoubleStorage"},
    {"torch", "LongStorage", "torch.LongStorage"},
};

}  // namespace

std::optional<Global> LookUpGlobal(std::string_view module, std::string_view attribute) {
  for (size_t i = 0; i < std::size(kGlobals); ++i) {
    if (module == kGlobals[i].module && attribute == kGlobals[i].attribute) {
      return static_cast<Global>(i);
    }
  }
  return std::nullopt;
}

const char* GlobalName(Global global) { return kGlobals[static_cast<size_t>(global)].name; }

std::optional<StoredDType> StorageDType(Global global) {
  switch (global) {
    case Global::kFloat:
      return StoredDType::kF32;
    case Global::kHalf:
      return StoredDType::kF16;
    case Global::kBf16:
      return StoredDType::kBf16;
    case Global::kDouble:
      return StoredDType::kF64;
    case Global::kLong:
      return StoredDType::kI64;
    case Global::kOrderedDict:
    case Global::kRebuildTensor:
      break;
  }
  return std::nullopt;
}

const char* KindName(Kind kind) {
  constexpr const char* kNames[] = {"None",   "a bool",   "a number",  "a string", "a tuple",
                                    "a dict", "a global", "a storage", "a tensor"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace mneme::loader::pickle
