#include "loader/pack/packer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/pack/in_place.h"
#include "loader/pack/key_norms.h"
#include "loader/pack/rope_tables.h"
#include "loader/pack/shuffle.h"

namespace mneme::loader {
namespace {

using kernels::Buffer;
using kernels::DType;
using kernels::Pages;
using kernels::TensorView;

// Smaller copies gain nothing from a huge page.
constexpr int64_t kHugeFrom = int64_t{2} << 20;
// Bytes of a table's row, all parts of it, that are read before the next rows are.
constexpr int64_t kTableChunkBytes = int64_t{4} << 20;

float* MutableFloats(PackedWeight& weight) {
  return static_cast<float*>(const_cast<void*>(weight.view.data));
}

uint8_t* MutableBytes(PackedWeight& weight) {
  return static_cast<uint8_t*>(const_cast<void*>(weight.view.data));
}

PackedWeight ViewOf(const uint8_t* data, DType dtype, int64_t rows, int64_t cols) {
  PackedWeight weight;
  weight.view = TensorView{data, dtype, rows, cols, cols};
  weight.in_place = true;
  weight.bytes = weight.view.bytes();
  return weight;
}

PackedTable TableOf(const WeightSource& source, const WeightSlice& slice,
                    const Conversion& conversion) {
  const WeightSource::Part& values = source.parts.back();
  PackedTable table;
  table.dtype = conversion.dtype;
  for (const RowRun& run : RowRuns(slice, values.rows)) table.rows += run.size;
  table.width = static_cast<int32_t>(slice.cols.Count(values.cols));
  const bool pre = source.parts.size() == 2;
  table.pre_width = pre ? static_cast<int32_t>(slice.pre_cols.Count(source.parts[0].cols)) : 0;
  table.row_stride_bytes = TableRowStride(table.pre_width + table.width, table.dtype);
  return table;
}

// A shuffle that was checked when it was converted is used where it lies: a damaged file must not
// lead out of the table.
absl::Status CheckShuffle(const StoredTensor& tensor, const PackedWeight& weight) {
  const auto* slots = static_cast<const int32_t*>(weight.view.data);
  for (int64_t i = 0; i < weight.view.rows; ++i) {
    if (slots[i] >= 0 && slots[i] < weight.view.rows) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        tensor.file, ": entry ", i, " is ", slots[i], ", which is not in [0, ", weight.view.rows,
        "): the file is damaged; `mneme inspect --verify` says where"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PackedWeight> Packer::PackOne(const WeightId& id, const WeightSource& source,
                                             const WeightSlice& slice) {
  const Conversion conversion =
      IsSmall(id.role) ? Conversion{} : MatrixConversion(DTypeOf(source), options_);
  if (StaysInPlace(checkpoint_, id, slice, options_)) {
    const PackedWeight weight = ViewInPlace(id, source, conversion);
    if (id.role != Role::kMemoryShuffle) return weight;
    if (absl::Status status = CheckShuffle(*source.parts[0].tensor, weight); !status.ok()) {
      return status;
    }
    return weight;
  }
  switch (id.role) {
    case Role::kRopeCos:
    case Role::kRopeSin:
      return PackRope(id.role == Role::kRopeCos);
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      return PackKeyNorm(id, source, slice);
    case Role::kMemoryShuffle:
      return PackShuffleIndex(source.parts[0]);
    case Role::kMemoryTable:
      return PackTable(source, slice);
    default:
      break;
  }
  if (IsStacked(id.role)) return PackStack(source, slice, conversion);
  const bool cut = !slice.whole() && !IsSmall(id.role) && source.parts.size() == 1;
  return cut ? PackMatrixPart(source.parts[0], slice, conversion) : PackParts(source, conversion);
}

// REQUIRES: StaysInPlace.
PackedWeight Packer::ViewInPlace(const WeightId& id, const WeightSource& source,
                                 const Conversion& conversion) const {
  const auto computed = [&](int64_t rows, int64_t cols) {
    return ViewOf(source.computed->bytes.data(), DType::kF32, rows, cols);
  };
  const ModelDescription& model = checkpoint_.model;
  switch (id.role) {
    case Role::kRopeCos:
    case Role::kRopeSin:
      return computed(model.max_sequence_length, model.attention.head_dim / 2);
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      return computed(source.parts[0].rows, model.memory->rank);
    case Role::kMemoryShuffle:
      return ViewOf(source.parts[0].Row(0), DType::kI32, source.parts[0].rows, 1);
    default:
      break;
  }
  const WeightSource::Part& first = source.parts[0];
  if (id.role == Role::kMemoryTable) {
    PackedWeight weight;
    weight.table = TableOf(source, {}, conversion);
    weight.table.data = first.Row(0);
    weight.in_place = true;
    weight.bytes = weight.table.rows * weight.table.row_stride_bytes;
    return weight;
  }
  PackedWeight weight = ViewOf(first.Row(0), conversion.dtype, first.rows, first.cols);
  if (!IsStacked(id.role)) return weight;
  for (const WeightSource::Part& part : source.parts) weight.stack.push_back(part.Row(0));
  weight.bytes *= static_cast<int64_t>(source.parts.size());
  return weight;
}

// A zeroed buffer kept for the life of the weights; nullptr never: errors come back as status.
absl::StatusOr<uint8_t*> Packer::Allocate(int64_t bytes, bool huge) {
  absl::StatusOr<Buffer> buffer = Buffer::Allocate(bytes, huge ? Pages::kHuge : Pages::kNormal);
  if (!buffer.ok()) return buffer.status();
  buffers_.push_back(*std::move(buffer));
  return buffers_.back().data();
}

// A new matrix without gaps.
absl::StatusOr<PackedWeight> Packer::NewMatrix(DType dtype, int64_t rows, int64_t cols) {
  PackedWeight weight;
  weight.bytes = rows * cols * DTypeBytes(dtype);
  absl::StatusOr<uint8_t*> data =
      Allocate(weight.bytes, options_.huge_pages && weight.bytes >= kHugeFrom);
  if (!data.ok()) return data.status();
  weight.view = TensorView{*data, dtype, rows, cols, cols};
  return weight;
}

// Both tables are filled at once, when the first is asked for.
absl::StatusOr<PackedWeight> Packer::PackRope(bool cosine) {
  if (!rope_cos_.has_value()) {
    const ModelDescription& model = checkpoint_.model;
    const int64_t head_dim = model.attention.head_dim;
    const int64_t positions = model.max_sequence_length;
    absl::StatusOr<PackedWeight> cos = NewMatrix(DType::kF32, positions, head_dim / 2);
    if (!cos.ok()) return cos;
    absl::StatusOr<PackedWeight> sin = NewMatrix(DType::kF32, positions, head_dim / 2);
    if (!sin.ok()) return sin;
    FillRope(model.attention, {0, positions}, MutableFloats(*cos), MutableFloats(*sin));
    rope_cos_ = *cos;
    rope_sin_ = *sin;
  }
  return cosine ? *rope_cos_ : *rope_sin_;
}

absl::StatusOr<PackedWeight> Packer::PackKeyNorm(const WeightId& id, const WeightSource& source,
                                                 const WeightSlice& slice) {
  const WeightSource::Part& keys = source.parts[0];
  const MemoryDescription& memory = *checkpoint_.model.memory;
  const KeyShape shape{keys.rows, memory.key_dim, memory.rank};
  const bool cut = NormsAreCut(checkpoint_, id, slice, options_);
  absl::StatusOr<PackedWeight> weight =
      NewMatrix(DType::kF32, cut ? slice.rows.Count(shape.keys) : shape.keys, shape.rank);
  if (!weight.ok()) return weight;
  std::vector<float> all(cut ? static_cast<size_t>(shape.keys * shape.rank) : 0);
  float* whole = cut ? all.data() : MutableFloats(*weight);
  const std::span<float> out(whole, static_cast<size_t>(shape.keys * shape.rank));
  const Rounding rounding = MatrixConversion(keys.tensor->dtype, options_).rounding;
  const bool mean = id.role == Role::kMemoryKeyMean;
  ComputeKeyNorms(*keys.tensor, shape, *memory.keys_norm, rounding, mean ? std::span<float>() : out,
                  mean ? out : std::span<float>());
  if (!cut) return weight;
  weight->part = true;
  float* next = MutableFloats(*weight);
  for (const RowRun& run : RowRuns(slice, shape.keys)) {
    next = std::copy_n(whole + run.first * shape.rank, run.size * shape.rank, next);
  }
  return weight;
}

absl::StatusOr<PackedWeight> Packer::PackShuffleIndex(const WeightSource::Part& part) {
  absl::StatusOr<PackedWeight> weight = NewMatrix(DType::kI32, part.rows, 1);
  if (!weight.ok()) return weight;
  auto* out = static_cast<int32_t*>(const_cast<void*>(weight->view.data));
  PackShuffle(*part.tensor, {out, static_cast<size_t>(part.rows)});
  checkpoint_.files->DropPages(part.tensor->bytes);
  return weight;
}

absl::StatusOr<PackedWeight> Packer::PackTable(const WeightSource& source,
                                               const WeightSlice& slice) {
  const WeightSource::Part& values = source.parts.back();
  const Conversion conversion = MatrixConversion(DTypeOf(source), options_);
  const int64_t element = DTypeBytes(conversion.dtype);
  const bool pre = source.parts.size() == 2;
  PackedWeight weight;
  weight.part = !slice.whole();
  weight.table = TableOf(source, slice, conversion);
  PackedTable& table = weight.table;
  weight.bytes = table.rows * table.row_stride_bytes;
  const absl::StatusOr<uint8_t*> data = Allocate(weight.bytes, options_.huge_pages);
  if (!data.ok()) return data.status();
  table.data = *data;
  uint8_t* out = *data;
  // Some rows at a time of both parts: where they lie side by side their pages are read once.
  const int64_t some = std::max<int64_t>(1, kTableChunkBytes / (values.row_stride() * element));
  for (const RowRun& run : RowRuns(slice, values.rows)) {
    for (int64_t done = 0; done < run.size; done += some) {
      const std::vector<RowRun> rows = {{run.first + done, std::min(some, run.size - done)}};
      int64_t column = 0;
      for (size_t i = 0; i < source.parts.size(); ++i) {
        const AxisSlice& cols = pre && i == 0 ? slice.pre_cols : slice.cols;
        PackRuns(source.parts[i], rows, cols, conversion, out + column * element,
                 table.row_stride_bytes);
        column += cols.Count(source.parts[i].cols);
      }
      out += rows[0].size * table.row_stride_bytes;
    }
  }
  return weight;
}

// The rows of the runs, one behind the other, and of each row the columns of the slice.
void Packer::PackRuns(const WeightSource::Part& source, const std::vector<RowRun>& runs,
                      const AxisSlice& cols, const Conversion& conversion, uint8_t* out,
                      int64_t stride_bytes) {
  const int64_t size = cols.all() ? source.cols : cols.size;
  const int64_t chunk = source.cols / cols.chunks;
  for (const RowRun& run : runs) {
    WeightSource::Part part = source;
    part.first_row += run.first;
    part.rows = run.size;
    for (int64_t i = 0; i < cols.chunks; ++i) {
      PackColumns(part, i * chunk + cols.first, size, conversion, *checkpoint_.files,
                  out + i * size * DTypeBytes(conversion.dtype), stride_bytes);
    }
    out += run.size * stride_bytes;
  }
}

absl::StatusOr<PackedWeight> Packer::PackMatrixPart(const WeightSource::Part& source,
                                                    const WeightSlice& slice,
                                                    const Conversion& conversion) {
  absl::StatusOr<PackedWeight> weight =
      NewMatrix(conversion.dtype, slice.rows.Count(source.rows), slice.cols.Count(source.cols));
  if (!weight.ok()) return weight;
  PackRuns(source, RowRuns(slice, source.rows), slice.cols, conversion, MutableBytes(*weight),
           weight->view.cols * DTypeBytes(conversion.dtype));
  weight->part = true;
  return weight;
}

// A matrix or vector: its parts, one after the other.
absl::StatusOr<PackedWeight> Packer::PackParts(const WeightSource& source,
                                               const Conversion& conversion) {
  const WeightSource::Part& first = source.parts[0];
  const CopyKey key{first.tensor, first.first_row, first.rows, conversion.dtype};
  const auto it = copies_.find(key);
  if (it != copies_.end()) return it->second;
  int64_t rows = 0;
  for (const WeightSource::Part& part : source.parts) rows += part.rows;
  absl::StatusOr<PackedWeight> weight = NewMatrix(conversion.dtype, rows, first.cols);
  if (!weight.ok()) return weight;
  uint8_t* out = MutableBytes(*weight);
  const int64_t stride = first.cols * DTypeBytes(conversion.dtype);
  for (const WeightSource::Part& part : source.parts) {
    PackRows(part, conversion, *checkpoint_.files, out, stride);
    out += part.rows * stride;
  }
  if (source.parts.size() == 1) copies_[key] = *weight;
  return weight;
}

// Stacked matrices one after the other: all, some of them, or some rows or columns of each.
absl::StatusOr<PackedWeight> Packer::PackStack(const WeightSource& source, const WeightSlice& slice,
                                               const Conversion& conversion) {
  const WeightSource::Part& any = source.parts[0];
  const auto count = static_cast<int64_t>(source.parts.size());
  const int64_t first = slice.matrices.all() ? 0 : slice.matrices.first;
  const int64_t kept = slice.matrices.Count(count);
  const int64_t rows = slice.rows.Count(any.rows);
  const int64_t cols = slice.cols.Count(any.cols);
  absl::StatusOr<PackedWeight> made = NewMatrix(conversion.dtype, kept * rows, cols);
  if (!made.ok()) return made;
  PackedWeight weight = *made;
  weight.part = !slice.whole();
  uint8_t* out = MutableBytes(weight);
  const int64_t stride = cols * DTypeBytes(conversion.dtype);
  for (int64_t i = 0; i < kept; ++i, out += rows * stride) {
    PackRuns(source.parts[first + i], RowRuns(slice, any.rows), slice.cols, conversion, out,
             stride);
    weight.stack.push_back(out);
  }
  weight.view.rows = rows;
  return weight;
}

}  // namespace mneme::loader
