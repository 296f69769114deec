#include "loader/pack/matrix_packer.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mneme::loader {
namespace {

// Bytes read between two drops of source pages: large beside the page at each end that cannot be
// dropped, small beside any memory.
constexpr int64_t kChunkBytes = int64_t{8} << 20;

void PackRow(const StoredTensor& tensor, int64_t first, const Conversion& conversion,
             std::span<float> scratch, uint8_t* destination) {
  if (conversion.dtype == kernels::DType::kF32) {
    ReadFloats(tensor, first, conversion.rounding,
               {reinterpret_cast<float*>(destination), scratch.size()});
    return;
  }
  ReadFloats(tensor, first, Rounding::kExact, scratch);
  auto* out = reinterpret_cast<kernels::Bf16*>(destination);
  for (size_t i = 0; i < scratch.size(); ++i) out[i] = kernels::ToBf16(scratch[i]);
}

}  // namespace

bool Conversion::Copies(StoredDType stored) const {
  if (stored == StoredDType::kBf16) return dtype == kernels::DType::kBf16;
  if (stored != StoredDType::kF32) return false;
  return dtype == kernels::DType::kF32 && rounding == Rounding::kExact;
}

void PackRows(const WeightSource::Part& part, const Conversion& conversion,
              const TensorFiles& files, uint8_t* destination, int64_t stride_bytes) {
  PackColumns(part, 0, part.cols, conversion, files, destination, stride_bytes);
}

void PackColumns(const WeightSource::Part& part, int64_t first_col, int64_t cols,
                 const Conversion& conversion, const TensorFiles& files, uint8_t* destination,
                 int64_t stride_bytes) {
  const StoredTensor& tensor = *part.tensor;
  const int64_t element = StoredDTypeBytes(tensor.dtype);
  const int64_t row_bytes = part.row_stride() * element;
  const int64_t chunk_rows = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, row_bytes));
  const bool copies = conversion.Copies(tensor.dtype);
  std::vector<float> scratch(copies ? 0 : static_cast<size_t>(cols));
  for (int64_t begin = 0; begin < part.rows; begin += chunk_rows) {
    const int64_t end = std::min(part.rows, begin + chunk_rows);
    for (int64_t row = begin; row < end; ++row) {
      uint8_t* out = destination + row * stride_bytes;
      if (copies) {
        std::memcpy(out, part.Row(row) + first_col * element, static_cast<size_t>(cols * element));
      } else {
        PackRow(tensor, part.Element(row) + first_col, conversion, scratch, out);
      }
    }
    // Whole rows, for nothing else of them is read here; the tensor may end with its last column.
    const uint8_t* first = part.Row(begin) - part.first_col * element;
    const auto left = static_cast<int64_t>(tensor.bytes.data() + tensor.bytes.size() - first);
    files.DropPages({first, static_cast<size_t>(std::min((end - begin) * row_bytes, left))});
  }
}

}  // namespace mneme::loader
