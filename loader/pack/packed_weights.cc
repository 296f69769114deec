// Invariants:
// 1. A weight is packed once, however often it is asked for.
// 2. Two weights of the same rows of the same tensor in the same dtype (a tied head) share memory.
// 3. A view into a mapped file is aligned to its element size; anything else is copied.
// 4. Source bytes that are copied are read front to back once, and their pages given back.
#include "loader/pack/packed_weights.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/rope/rope.h"
#include "loader/pack/key_norms.h"
#include "loader/pack/matrix_packer.h"
#include "loader/pack/served_form.h"
#include "loader/pack/shuffle.h"

namespace mneme::loader {
namespace {

using kernels::Buffer;
using kernels::DType;
using kernels::Pages;
using kernels::TensorView;

// Smaller copies gain nothing from a huge page.
constexpr int64_t kHugeFrom = int64_t{2} << 20;

bool Aligned(const uint8_t* data, DType dtype) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(DTypeBytes(dtype)) == 0;
}

// Packs weights one by one into buffers of its own.
class Packer {
 public:
  Packer(const Checkpoint& checkpoint, const PackOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  absl::StatusOr<PackedWeight> PackOne(const WeightId& id, const WeightSource& source,
                                       const WeightSlice& slice) {
    switch (id.role) {
      case Role::kRopeCos:
      case Role::kRopeSin:
        return PackRope(id.role == Role::kRopeCos);
      case Role::kMemoryKeyInverseNorm:
      case Role::kMemoryKeyMean:
        return PackKeyNorm(id.role == Role::kMemoryKeyMean, source.parts[0]);
      case Role::kMemoryShuffle:
        return PackShuffleIndex(source.parts[0]);
      case Role::kMemoryTable:
        return PackTable(source, slice);
      default:
        break;
    }
    if (IsStacked(id.role)) {
      return slice.whole() ? PackStack(source) : PackStackPart(source, slice);
    }
    if (IsSmall(id.role)) return PackParts(source, Conversion{});
    const Conversion conversion = MatrixConversion(source.parts[0].tensor->dtype, options_);
    const bool alone = source.parts.size() == 1;
    const bool view = alone && slice.cols.all() && InPlace(source.parts[0], conversion);
    if (!slice.whole() && alone && !view) return PackMatrixPart(source.parts[0], slice, conversion);
    return PackParts(source, conversion);
  }

  std::vector<Buffer> TakeBuffers() { return std::move(buffers_); }

 private:
  // A zeroed buffer kept for the life of the weights; nullptr never: errors come back as status.
  absl::StatusOr<uint8_t*> Allocate(int64_t bytes, bool huge) {
    absl::StatusOr<Buffer> buffer = Buffer::Allocate(bytes, huge ? Pages::kHuge : Pages::kNormal);
    if (!buffer.ok()) return buffer.status();
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().data();
  }

  // A new float32 or int32 matrix without gaps.
  absl::StatusOr<PackedWeight> NewMatrix(DType dtype, int64_t rows, int64_t cols) {
    PackedWeight weight;
    weight.bytes = rows * cols * DTypeBytes(dtype);
    absl::StatusOr<uint8_t*> data = Allocate(weight.bytes, weight.bytes >= kHugeFrom);
    if (!data.ok()) return data.status();
    weight.view = TensorView{*data, dtype, rows, cols, cols};
    return weight;
  }

  // Both tables are filled at once, when the first is asked for.
  absl::StatusOr<PackedWeight> PackRope(bool cosine) {
    if (!rope_cos_.has_value()) {
      const ModelDescription& model = checkpoint_.model;
      const int64_t head_dim = model.attention.head_dim;
      const int64_t positions = model.max_sequence_length;
      absl::StatusOr<PackedWeight> cos = NewMatrix(DType::kF32, positions, head_dim / 2);
      if (!cos.ok()) return cos;
      absl::StatusOr<PackedWeight> sin = NewMatrix(DType::kF32, positions, head_dim / 2);
      if (!sin.ok()) return sin;
      kernels::FillRopeTables(model.attention.rope.theta, head_dim, positions, MutableFloats(*cos),
                              MutableFloats(*sin));
      rope_cos_ = *cos;
      rope_sin_ = *sin;
    }
    return cosine ? *rope_cos_ : *rope_sin_;
  }

  absl::StatusOr<PackedWeight> PackKeyNorm(bool mean, const WeightSource::Part& part) {
    const MemoryDescription& memory = *checkpoint_.model.memory;
    const KeyShape shape{part.rows, memory.key_dim, memory.rank};
    absl::StatusOr<PackedWeight> weight = NewMatrix(DType::kF32, shape.keys, shape.rank);
    if (!weight.ok()) return weight;
    const std::span<float> out(MutableFloats(*weight),
                               static_cast<size_t>(shape.keys * shape.rank));
    const Rounding rounding = MatrixConversion(part.tensor->dtype, options_).rounding;
    ComputeKeyNorms(*part.tensor, shape, *memory.keys_norm, rounding,
                    mean ? std::span<float>() : out, mean ? out : std::span<float>());
    return weight;
  }

  absl::StatusOr<PackedWeight> PackShuffleIndex(const WeightSource::Part& part) {
    absl::StatusOr<PackedWeight> weight = NewMatrix(DType::kI32, part.rows, 1);
    if (!weight.ok()) return weight;
    auto* out = static_cast<int32_t*>(const_cast<void*>(weight->view.data));
    PackShuffle(*part.tensor, {out, static_cast<size_t>(part.rows)});
    checkpoint_.files->DropPages(part.tensor->bytes);
    return weight;
  }

  absl::StatusOr<PackedWeight> PackTable(const WeightSource& source, const WeightSlice& slice) {
    const Conversion conversion = MatrixConversion(source.parts[0].tensor->dtype, options_);
    const int64_t element = DTypeBytes(conversion.dtype);
    const WeightSource::Part& values = source.parts.back();
    const bool pre = source.parts.size() == 2;
    const std::vector<RowRun> runs = RowRuns(slice, values.rows);
    PackedWeight weight;
    weight.part = !slice.whole();
    PackedTable& table = weight.table;
    table.dtype = conversion.dtype;
    for (const RowRun& run : runs) table.rows += run.size;
    table.width = static_cast<int32_t>(slice.cols.Count(values.cols));
    table.pre_width = pre ? static_cast<int32_t>(slice.pre_cols.Count(source.parts[0].cols)) : 0;
    table.row_stride_bytes = TableRowStride(int64_t{table.pre_width} + table.width, table.dtype);
    weight.bytes = table.rows * table.row_stride_bytes;
    const absl::StatusOr<uint8_t*> data = Allocate(weight.bytes, options_.huge_pages);
    if (!data.ok()) return data.status();
    table.data = *data;
    int64_t column = 0;
    for (size_t i = 0; i < source.parts.size(); ++i) {
      const AxisSlice& cols = pre && i == 0 ? slice.pre_cols : slice.cols;
      PackRuns(source.parts[i], runs, cols, conversion, *data + column * element,
               table.row_stride_bytes);
      column += cols.Count(source.parts[i].cols);
    }
    return weight;
  }

  // The rows of the runs, one behind the other, and of each row the columns of the slice.
  void PackRuns(const WeightSource::Part& source, const std::vector<RowRun>& runs,
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

  static bool InPlace(const WeightSource::Part& part, const Conversion& conversion) {
    const uint8_t* stored = part.tensor->bytes.data() +
                            part.first_row * part.cols * StoredDTypeBytes(part.tensor->dtype);
    return conversion.Copies(part.tensor->dtype) && Aligned(stored, conversion.dtype);
  }

  absl::StatusOr<PackedWeight> PackMatrixPart(const WeightSource::Part& source,
                                              const WeightSlice& slice,
                                              const Conversion& conversion) {
    absl::StatusOr<PackedWeight> weight =
        NewMatrix(conversion.dtype, slice.rows.Count(source.rows), slice.cols.Count(source.cols));
    if (!weight.ok()) return weight;
    PackRuns(source, RowRuns(slice, source.rows), slice.cols, conversion,
             static_cast<uint8_t*>(const_cast<void*>(weight->view.data)),
             weight->view.cols * DTypeBytes(conversion.dtype));
    weight->part = true;
    return weight;
  }

  // A matrix or vector: a view where it may be one, else a copy of its parts, one after the other.
  absl::StatusOr<PackedWeight> PackParts(const WeightSource& source, const Conversion& conversion) {
    const WeightSource::Part& first = source.parts[0];
    const int64_t source_row = first.cols * StoredDTypeBytes(first.tensor->dtype);
    const uint8_t* stored = first.tensor->bytes.data() + first.first_row * source_row;
    if (source.parts.size() == 1 && conversion.Copies(first.tensor->dtype) &&
        Aligned(stored, conversion.dtype)) {
      PackedWeight weight;
      weight.view = TensorView{stored, conversion.dtype, first.rows, first.cols, first.cols};
      weight.in_place = true;
      weight.bytes = weight.view.bytes();
      return weight;
    }
    const CopyKey key{first.tensor, first.first_row, first.rows, conversion.dtype};
    const auto it = copies_.find(key);
    if (it != copies_.end()) return it->second;
    int64_t rows = 0;
    for (const WeightSource::Part& part : source.parts) rows += part.rows;
    absl::StatusOr<PackedWeight> weight = NewMatrix(conversion.dtype, rows, first.cols);
    if (!weight.ok()) return weight;
    uint8_t* out = static_cast<uint8_t*>(const_cast<void*>(weight->view.data));
    const int64_t stride = first.cols * DTypeBytes(conversion.dtype);
    for (const WeightSource::Part& part : source.parts) {
      PackRows(part, conversion, *checkpoint_.files, out, stride);
      out += part.rows * stride;
    }
    if (source.parts.size() == 1) copies_[key] = *weight;
    return weight;
  }

  // Stacked matrices: each where it lies if all may be, else copies, one after the other.
  absl::StatusOr<PackedWeight> PackStack(const WeightSource& source) {
    const WeightSource::Part& first = source.parts[0];
    const Conversion conversion = MatrixConversion(first.tensor->dtype, options_);
    PackedWeight weight;
    weight.in_place = true;
    for (const WeightSource::Part& part : source.parts) {
      const uint8_t* stored = part.tensor->bytes.data() +
                              part.first_row * part.cols * StoredDTypeBytes(part.tensor->dtype);
      weight.stack.push_back(stored);
      weight.in_place = weight.in_place && conversion.Copies(part.tensor->dtype) &&
                        Aligned(stored, conversion.dtype);
    }
    const auto count = static_cast<int64_t>(source.parts.size());
    if (!weight.in_place) {
      absl::StatusOr<PackedWeight> made =
          NewMatrix(conversion.dtype, count * first.rows, first.cols);
      if (!made.ok()) return made.status();
      auto* out = static_cast<uint8_t*>(const_cast<void*>(made->view.data));
      const int64_t stride = first.cols * DTypeBytes(conversion.dtype);
      for (int64_t i = 0; i < count; ++i, out += first.rows * stride) {
        PackRows(source.parts[i], conversion, *checkpoint_.files, out, stride);
        weight.stack[i] = out;
      }
    }
    weight.view = {weight.stack[0], conversion.dtype, first.rows, first.cols, first.cols};
    weight.bytes = count * weight.view.bytes();
    return weight;
  }

  // Some of the matrices, or some rows or columns of each.
  absl::StatusOr<PackedWeight> PackStackPart(const WeightSource& source, const WeightSlice& slice) {
    const WeightSource::Part& any = source.parts[0];
    const Conversion conversion = MatrixConversion(any.tensor->dtype, options_);
    const bool in_place =
        slice.cols.all() && std::all_of(source.parts.begin(), source.parts.end(),
                                        [&](const auto& p) { return InPlace(p, conversion); });
    if (in_place) return PackStack(source);
    const auto count = static_cast<int64_t>(source.parts.size());
    const int64_t first = slice.matrices.all() ? 0 : slice.matrices.first;
    const int64_t kept = slice.matrices.Count(count);
    const int64_t rows = slice.rows.Count(any.rows);
    const int64_t cols = slice.cols.Count(any.cols);
    absl::StatusOr<PackedWeight> made = NewMatrix(conversion.dtype, kept * rows, cols);
    if (!made.ok()) return made;
    PackedWeight weight = *made;
    weight.part = true;
    auto* out = static_cast<uint8_t*>(const_cast<void*>(made->view.data));
    const int64_t stride = cols * DTypeBytes(conversion.dtype);
    for (int64_t i = 0; i < kept; ++i, out += rows * stride) {
      PackRuns(source.parts[first + i], RowRuns(slice, any.rows), slice.cols, conversion, out,
               stride);
      weight.stack.push_back(out);
    }
    weight.view.rows = rows;
    return weight;
  }

  static float* MutableFloats(PackedWeight& weight) {
    return static_cast<float*>(const_cast<void*>(weight.view.data));
  }

  using CopyKey = std::tuple<const StoredTensor*, int64_t, int64_t, DType>;

  const Checkpoint& checkpoint_;
  const PackOptions& options_;
  std::vector<Buffer> buffers_;
  std::map<CopyKey, PackedWeight> copies_;
  std::optional<PackedWeight> rope_cos_;
  std::optional<PackedWeight> rope_sin_;
};

}  // namespace

absl::StatusOr<PackedWeights> PackedWeights::Pack(const Checkpoint& checkpoint,
                                                  const std::vector<WeightId>& ids,
                                                  const PackOptions& options) {
  return Pack(checkpoint, ids, {}, options);
}

absl::StatusOr<PackedWeights> PackedWeights::Pack(const Checkpoint& checkpoint,
                                                  const std::vector<WeightId>& ids,
                                                  const std::map<WeightId, WeightSlice>& slices,
                                                  const PackOptions& options) {
  PackedWeights packed;
  Packer packer(checkpoint, options);
  for (const WeightId& id : ids) {
    if (packed.weights_.count(id) != 0) continue;
    const auto source = checkpoint.weights.find(id);
    if (source == checkpoint.weights.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint.directory, ": the model has no weight ", WeightName(id)));
    }
    const auto slice = slices.find(id);
    absl::StatusOr<PackedWeight> weight =
        packer.PackOne(id, source->second, slice == slices.end() ? WeightSlice{} : slice->second);
    if (!weight.ok()) {
      return absl::Status(weight.status().code(),
                          absl::StrCat(WeightName(id), ": ", weight.status().message()));
    }
    packed.weights_.emplace(id, *weight);
  }
  packed.buffers_ = packer.TakeBuffers();
  packed.files_ = checkpoint.files;
  return packed;
}

const PackedWeight& PackedWeights::at(const WeightId& id) const {
  const auto it = weights_.find(id);
  if (it == weights_.end()) __builtin_trap();
  return it->second;
}

int64_t PackedWeights::owned_bytes() const {
  int64_t bytes = 0;
  for (const Buffer& buffer : buffers_) bytes += buffer.size();
  return bytes;
}

}  // namespace mneme::loader
