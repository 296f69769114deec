#include "loader/pack/served_form.h"

#include "kernels/tensor/tensor.h"

namespace mneme::loader {
namespace {

using kernels::DType;

constexpr int64_t kCacheLine = 64;

}  // namespace

bool IsSmall(Role role) {
  switch (role) {
    case Role::kEmbeddingNormWeight:
    case Role::kEmbeddingNormBias:
    case Role::kFinalNormWeight:
    case Role::kFinalNormBias:
    case Role::kHeadBias:
    case Role::kAttentionNormWeight:
    case Role::kAttentionNormBias:
    case Role::kQueryBias:
    case Role::kKeyBias:
    case Role::kValueBias:
    case Role::kQueryNormWeight:
    case Role::kQueryNormBias:
    case Role::kKeyNormWeight:
    case Role::kKeyNormBias:
    case Role::kAttentionOutBias:
    case Role::kFfnNormWeight:
    case Role::kFfnNormBias:
    case Role::kFfnUpBias:
    case Role::kFfnGateBias:
    case Role::kFfnDownBias:
    case Role::kMemoryQueryNormWeight:
    case Role::kMemoryQueryNormBias:
    case Role::kMemoryKeysNormWeight:
    case Role::kMemoryKeysNormBias:
    case Role::kMemoryRowDirection:
    case Role::kMemoryColumnDirection:
    case Role::kMemoryCores:
      return true;
    default:
      return false;
  }
}

bool IsStacked(Role role) {
  return role == Role::kExpertGate || role == Role::kExpertUp || role == Role::kExpertDown;
}

Conversion MatrixConversion(StoredDType stored, const PackOptions& options) {
  Conversion conversion;
  const bool rounded = stored != StoredDType::kBf16 && options.round_to_bf16;
  conversion.rounding = rounded ? Rounding::kBf16 : Rounding::kExact;
  const bool half = stored == StoredDType::kBf16 || rounded;
  conversion.dtype = half && !options.widen_to_f32 ? DType::kBf16 : DType::kF32;
  return conversion;
}

int64_t TableRowStride(int64_t elements, DType dtype) {
  return (elements * DTypeBytes(dtype) + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace mneme::loader
