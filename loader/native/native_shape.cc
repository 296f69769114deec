#include "loader/native/native_shape.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "loader/native/shard_plan.h"

namespace mneme::loader {
namespace {

StoredDType Stored(kernels::DType dtype) {
  return dtype == kernels::DType::kBf16 ? StoredDType::kBf16 : StoredDType::kF32;
}

// Computed at conversion, or changed in kind: {rows, cols, dtype} by the model. False for others.
bool ComputedShape(const WeightId& id, const WeightSource& source, const ModelDescription& model,
                   ManifestWeight* shape) {
  switch (id.role) {
    case Role::kRopeCos:
    case Role::kRopeSin:
      shape->rows = model.max_sequence_length;
      shape->cols = model.attention.head_dim / 2;
      return true;
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      shape->rows = source.parts[0].rows;
      shape->cols = model.memory->rank;
      return true;
    case Role::kMemoryShuffle:
      shape->dtype = StoredDType::kI32;
      shape->rows = source.parts[0].rows;
      shape->cols = 1;
      return true;
    default:
      return false;
  }
}

// Rows of a block: as many as `most_bytes` hold, in whole units of kBlockAlignment, or where those
// are too large of kBlockBytesMultiple.
int64_t BlockRows(int64_t rows, int64_t row_bytes, int64_t most_bytes) {
  int64_t unit = kBlockAlignment / std::gcd(kBlockAlignment, row_bytes);
  if (unit * row_bytes > most_bytes) {
    unit = kBlockBytesMultiple / std::gcd(kBlockBytesMultiple, row_bytes);
  }
  const int64_t units = std::max<int64_t>(1, most_bytes / (unit * row_bytes));
  return std::min(rows, units * unit);
}

absl::Status Mismatch(const WeightId& id, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(WeightName(id), ": ", what));
}

}  // namespace

absl::StatusOr<ManifestWeight> NativeShape(const WeightId& id, const WeightSource& source,
                                           const ModelDescription& model,
                                           const PackOptions& options, int64_t shard_bytes) {
  ManifestWeight shape;
  shape.name = WeightName(id);
  const int64_t most_block = std::min(
      kMostBlockBytes, (shard_bytes - kBlockAlignment) / kBlockAlignment * kBlockAlignment);
  if (!ComputedShape(id, source, model, &shape)) {
    if (source.parts.empty()) return Mismatch(id, "has no source");
    const WeightSource::Part& first = source.parts[0];
    const kernels::DType dtype =
        IsSmall(id.role) ? kernels::DType::kF32 : MatrixConversion(DTypeOf(source), options).dtype;
    shape.dtype = Stored(dtype);
    const bool table = id.role == Role::kMemoryTable;
    for (const WeightSource::Part& part : source.parts) {
      if (table ? part.rows != first.rows : part.cols != first.cols) {
        return Mismatch(id, table ? "pre-values and values of different numbers of rows"
                                  : "parts of different widths");
      }
      if (IsStacked(id.role) && part.rows != first.rows) {
        return Mismatch(id, "matrices of different heights");
      }
      if (!table) shape.rows += part.rows;
    }
    if (table) {
      if (source.parts.size() > 2) return Mismatch(id, "a table of more than two parts");
      const WeightSource::Part& values = source.parts.back();
      shape.packing = Packing::kInterleavedRows;
      shape.rows = values.rows;
      shape.width = values.cols;
      shape.pre_width = source.parts.size() == 2 ? first.cols : 0;
      shape.row_stride = TableRowStride(shape.pre_width + shape.width, dtype);
      shape.block_rows = BlockRows(shape.rows, shape.row_stride, most_block);
      return shape;
    }
    shape.cols = first.cols;
    if (IsStacked(id.role)) {
      shape.packing = Packing::kStacked;
      shape.rows = first.rows;
      shape.stack = static_cast<int64_t>(source.parts.size());
      return shape;
    }
  }
  const int64_t bytes = shape.rows * shape.row_bytes();
  const bool fits = bytes + kShardDataAlignment <= shard_bytes;
  shape.block_rows = fits ? shape.rows : BlockRows(shape.rows, shape.row_bytes(), most_block);
  return shape;
}

}  // namespace mneme::loader
