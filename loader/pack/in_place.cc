#include "loader/pack/in_place.h"

#include <algorithm>

namespace mneme::loader {
namespace {

constexpr int64_t kCacheLine = 64;

bool Aligned(const uint8_t* data, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0;
}

// Whether what was computed when the checkpoint was converted is what would be computed now.
bool ComputedHolds(const Checkpoint& checkpoint, Role role, const WeightSource& source,
                   const PackOptions& options) {
  if (source.computed == nullptr || !Aligned(source.computed->bytes.data(), sizeof(float))) {
    return false;
  }
  if (role == Role::kRopeCos || role == Role::kRopeSin) {
    // Tables of more positions begin like those of fewer.
    return source.computed->elements() >=
           checkpoint.model.max_sequence_length * (checkpoint.model.attention.head_dim / 2);
  }
  return MatrixConversion(DTypeOf(source), options).rounding == Rounding::kExact &&
         source.computed->elements() == source.parts[0].rows * checkpoint.model.memory->rank;
}

}  // namespace

bool InPlace(const WeightSource::Part& part, const Conversion& conversion) {
  return part.row_stride() == part.cols && conversion.Copies(part.tensor->dtype) &&
         Aligned(part.Row(0), DTypeBytes(conversion.dtype));
}

bool LiesInterleaved(const WeightSource& source, const Conversion& conversion) {
  const WeightSource::Part& values = source.parts.back();
  const bool pre = source.parts.size() == 2;
  const int64_t pre_width = pre ? source.parts[0].cols : 0;
  if (pre) {
    const WeightSource::Part& first = source.parts[0];
    if (first.tensor != values.tensor || first.first_row != values.first_row ||
        first.row_stride() != values.row_stride() ||
        first.first_col + pre_width != values.first_col) {
      return false;
    }
  }
  return conversion.Copies(values.tensor->dtype) &&
         values.row_stride() * StoredDTypeBytes(values.tensor->dtype) ==
             TableRowStride(pre_width + values.cols, conversion.dtype) &&
         Aligned(source.parts[0].Row(0), kCacheLine);
}

bool StaysInPlace(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                  const PackOptions& options) {
  const auto found = checkpoint.weights.find(id);
  if (found == checkpoint.weights.end()) return false;
  const WeightSource& source = found->second;
  switch (id.role) {
    case Role::kRopeCos:
    case Role::kRopeSin:
      return ComputedHolds(checkpoint, id.role, source, options);
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      return ComputedHolds(checkpoint, id.role, source, options) &&
             !NormsAreCut(checkpoint, id, slice, options);
    case Role::kMemoryShuffle:
      return DTypeOf(source) == StoredDType::kI32 &&
             Aligned(source.parts[0].Row(0), sizeof(int32_t));
    default:
      break;
  }
  const StoredDType stored = DTypeOf(source);
  const Conversion conversion = IsSmall(id.role) ? Conversion{} : MatrixConversion(stored, options);
  if (IsSmall(id.role)) return source.parts.size() == 1 && InPlace(source.parts[0], conversion);
  if (options.copy_mapped || !slice.cols.all() || !slice.pre_cols.all()) return false;
  if (id.role == Role::kMemoryTable) {
    return slice.rows.all() && LiesInterleaved(source, conversion);
  }
  return (IsStacked(id.role) || source.parts.size() == 1) &&
         std::all_of(source.parts.begin(), source.parts.end(),
                     [&](const WeightSource::Part& part) { return InPlace(part, conversion); });
}

bool NormsAreCut(const Checkpoint& checkpoint, const WeightId& id, const WeightSlice& slice,
                 const PackOptions& options) {
  return !slice.whole() && !StaysInPlace(checkpoint, {Role::kMemoryKeys, id.layer}, slice, options);
}

}  // namespace mneme::loader
