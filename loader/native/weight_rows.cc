#include "loader/native/weight_rows.h"

#include <algorithm>
#include <cstring>

#include "loader/pack/key_norms.h"
#include "loader/pack/rope_tables.h"
#include "loader/pack/shuffle.h"

namespace mneme::loader {
namespace {

// Rows of a part, counted from its first.
WeightSource::Part Rows(WeightSource::Part part, int64_t first, int64_t rows) {
  part.first_row += first;
  part.rows = rows;
  return part;
}

}  // namespace

void WeightRows::Read(const WeightId& id, const ManifestWeight& shape, int64_t tensor,
                      int64_t first, int64_t rows, uint8_t* out) {
  const WeightSource& source = checkpoint_.weights.at(id);
  if (shape.packing == Packing::kStacked) {
    Forget();
    const Conversion conversion = MatrixConversion(DTypeOf(source), options_);
    PackRows(Rows(source.parts[static_cast<size_t>(tensor)], first, rows), conversion,
             *checkpoint_.files, out, shape.row_bytes());
    return;
  }
  const int64_t row = tensor * shape.block_rows + first;
  switch (id.role) {
    case Role::kMemoryTable:
      Forget();
      return ReadTable(source, shape, row, rows, out);
    case Role::kRopeCos:
    case Role::kRopeSin:
      return ReadRope(id.role == Role::kRopeCos, row, rows, reinterpret_cast<float*>(out));
    case Role::kMemoryKeyInverseNorm:
    case Role::kMemoryKeyMean:
      std::memcpy(out, KeyNorm(id).data() + row * shape.cols,
                  static_cast<size_t>(rows * shape.row_bytes()));
      return;
    case Role::kMemoryShuffle: {
      StoredTensor part = *source.parts[0].tensor;
      part.bytes = part.bytes.subspan(static_cast<size_t>(row) * sizeof(int64_t),
                                      static_cast<size_t>(rows) * sizeof(int64_t));
      PackShuffle(part, {reinterpret_cast<int32_t*>(out), static_cast<size_t>(rows)});
      checkpoint_.files->DropPages(part.bytes);
      return;
    }
    default:
      break;
  }
  Forget();
  const Conversion conversion =
      IsSmall(id.role) ? Conversion{} : MatrixConversion(DTypeOf(source), options_);
  ReadParts(source, conversion, row, rows, out);
}

void WeightRows::Forget() {
  computed_.reset();
  norms_ = {};
}

void WeightRows::ReadRope(bool cosines, int64_t first, int64_t rows, float* out) {
  Forget();
  const AttentionDescription& attention = checkpoint_.model.attention;
  // The other table's rows, which are computed with them: so both have the bits of a whole table.
  std::vector<float> other(static_cast<size_t>(rows * (attention.head_dim / 2)));
  FillRope(attention, {first, rows}, cosines ? out : other.data(), cosines ? other.data() : out);
}

std::span<const float> WeightRows::KeyNorm(const WeightId& id) {
  if (computed_ != id) {
    const MemoryDescription& memory = *checkpoint_.model.memory;
    const WeightSource::Part& part = checkpoint_.weights.at(id).parts[0];
    const KeyShape shape{part.rows, memory.key_dim, memory.rank};
    norms_.assign(static_cast<size_t>(shape.keys * shape.rank), 0.0f);
    const bool mean = id.role == Role::kMemoryKeyMean;
    const Rounding rounding = MatrixConversion(part.tensor->dtype, options_).rounding;
    ComputeKeyNorms(*part.tensor, shape, *memory.keys_norm, rounding,
                    mean ? std::span<float>() : std::span<float>(norms_),
                    mean ? std::span<float>(norms_) : std::span<float>());
    checkpoint_.files->DropPages(part.tensor->bytes);
    computed_ = id;
  }
  return norms_;
}

void WeightRows::ReadTable(const WeightSource& source, const ManifestWeight& shape, int64_t first,
                           int64_t rows, uint8_t* out) {
  const Conversion conversion = MatrixConversion(DTypeOf(source), options_);
  const int64_t element = StoredDTypeBytes(shape.dtype);
  if ((shape.pre_width + shape.width) * element < shape.row_stride) {
    std::memset(out, 0, static_cast<size_t>(rows * shape.row_stride));
  }
  int64_t column = 0;
  for (const WeightSource::Part& part : source.parts) {
    PackRows(Rows(part, first, rows), conversion, *checkpoint_.files, out + column * element,
             shape.row_stride);
    column += part.cols;
  }
}

void WeightRows::ReadParts(const WeightSource& source, const Conversion& conversion, int64_t first,
                           int64_t rows, uint8_t* out) {
  for (const WeightSource::Part& part : source.parts) {
    const int64_t taken = std::clamp<int64_t>(part.rows - first, 0, rows);
    if (taken > 0) {
      const int64_t stride = part.cols * kernels::DTypeBytes(conversion.dtype);
      PackRows(Rows(part, first, taken), conversion, *checkpoint_.files, out, stride);
      out += taken * stride;
      rows -= taken;
      first = 0;
    } else {
      first -= part.rows;
    }
  }
}

}  // namespace mneme::loader
