#include "engine/runtime/weight_part.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::runtime {
namespace {

using kernels::DType;

DType DTypeOfElement(v1::ElementType type) {
  switch (type) {
    case v1::BF16:
      return DType::kBf16;
    case v1::I32:
      return DType::kI32;
    default:
      return DType::kF32;
  }
}

bool Split(const v1::Weight& planned, int axis) {
  return planned.layout().kind() == v1::Layout::SPLIT && planned.layout().axis() == axis;
}

// Whether an axis of the whole weight is what the plan cuts.
bool Fits(const v1::Weight& planned, int axis, int64_t whole) {
  if (!Split(planned, axis)) return planned.shape(axis) == whole;
  const v1::Layout& layout = planned.layout();
  if (layout.block() > 0) return planned.first_row() < whole && planned.shape(axis) <= whole;
  int64_t end = layout.parts(layout.parts_size() - 1).end();
  if (!layout.pre_parts().empty()) end += layout.pre_parts(layout.pre_parts_size() - 1).end();
  return end * std::max(1, layout.chunks()) == whole;
}

}  // namespace

absl::Status CheckWeight(const v1::Weight& planned, const loader::PackedWeight& whole) {
  const DType dtype = planned.value_table() ? whole.table.dtype : whole.view.dtype;
  int64_t rows = whole.view.rows;
  int64_t cols = whole.view.cols;
  if (planned.value_table()) {
    rows = whole.table.rows;
    cols = int64_t{whole.table.pre_width} + whole.table.width;
  } else if (planned.shape(0) == 1 && cols == 1) {
    std::swap(rows, cols);  // vectors are stored as one column
  }
  const bool cut = planned.layout().kind() == v1::Layout::SPLIT;
  const bool table_fits = !planned.value_table() || cut || whole.bytes == planned.bytes();
  if (dtype == DTypeOfElement(planned.type()) && Fits(planned, 0, rows) && Fits(planned, 1, cols) &&
      table_fits) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("weight ", planned.name(), ": the plan has [", planned.shape(0), ", ",
                   planned.shape(1), "] ", kernels::DTypeName(DTypeOfElement(planned.type())),
                   " of ", planned.bytes(), " bytes, packed is [", rows, ", ", cols, "] ",
                   kernels::DTypeName(dtype), " of ", whole.bytes, " bytes"));
}

loader::PackedWeight PartOf(const v1::Weight& planned, const loader::PackedWeight& whole) {
  loader::PackedWeight part = whole;
  part.bytes = planned.bytes();
  if (planned.value_table()) return part;
  // The columns of a vector are the rows that it is stored in.
  const bool column = planned.shape(0) == 1 && whole.view.rows != 1;
  const int64_t row_stride = column ? 1 : whole.view.row_stride;
  const int64_t first = planned.first_row() * row_stride + planned.first_col();
  part.view.data =
      static_cast<const uint8_t*>(whole.view.data) + first * DTypeBytes(whole.view.dtype);
  part.view.rows = column ? planned.shape(1) : planned.shape(0);
  part.view.cols = column ? 1 : planned.shape(1);
  if (const int32_t chunks = planned.layout().chunks(); chunks > 1) {
    part.chunk_stride = (planned.layout().axis() == 0 ? whole.view.rows : whole.view.cols) / chunks;
  }
  return part;
}

}  // namespace mneme::runtime
