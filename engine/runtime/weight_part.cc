#include "engine/runtime/weight_part.h"

#include <algorithm>
#include <iterator>
#include <string>
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

// The same of stacked matrices: which of them, and rows or columns of each.
bool StackFits(const v1::Weight& planned, const loader::PackedWeight& whole) {
  const int axis = planned.layout().kind() == v1::Layout::SPLIT ? planned.layout().axis() : -1;
  const int64_t count = planned.stack();
  const int64_t rows = planned.shape(0) / count;
  const int64_t first_matrix = axis == 0 ? planned.first_row() / whole.view.rows : 0;
  const int64_t first_row = axis == 1 ? planned.first_row() : 0;
  const auto fits_along = [axis](int along, int64_t first, int64_t size, int64_t all) {
    return axis == along ? first >= 0 && first + size <= all : size == all;
  };
  return fits_along(0, first_matrix, count, std::ssize(whole.stack)) &&
         fits_along(1, first_row, rows, whole.view.rows) &&
         fits_along(2, planned.first_col(), planned.shape(1), whole.view.cols);
}

// "[8, 96, 64]" of stacked matrices, "[768, 64]" of one.
std::string ShapeText(int64_t stack, int64_t rows, int64_t cols) {
  if (stack == 0) return absl::StrCat("[", rows, ", ", cols, "]");
  return absl::StrCat("[", stack, ", ", rows / stack, ", ", cols, "]");
}

absl::Status Misfit(const v1::Weight& planned, const loader::PackedWeight& packed, int64_t rows,
                    int64_t cols) {
  const DType dtype = planned.value_table() ? packed.table.dtype : packed.view.dtype;
  return absl::InvalidArgumentError(
      absl::StrCat("weight ", planned.name(), ": the plan has ",
                   ShapeText(planned.stack(), planned.shape(0), planned.shape(1)), " ",
                   kernels::DTypeName(DTypeOfElement(planned.type())), " of ", planned.bytes(),
                   " bytes, packed is ", ShapeText(std::ssize(packed.stack), rows, cols), " ",
                   kernels::DTypeName(dtype), " of ", packed.bytes, " bytes"));
}

// A part of each of the stacked matrices, or some of them.
loader::PackedWeight PartOfStack(const v1::Weight& planned, const loader::PackedWeight& whole) {
  loader::PackedWeight part = whole;
  const int64_t matrix = planned.first_row() / whole.view.rows;
  const int64_t row = planned.first_row() % whole.view.rows;
  const int64_t first = row * whole.view.row_stride + planned.first_col();
  part.stack.clear();
  for (int64_t i = 0; i < planned.stack(); ++i) {
    part.stack.push_back(whole.stack[matrix + i] + first * DTypeBytes(whole.view.dtype));
  }
  part.view.data = part.stack[0];
  part.view.rows = planned.shape(0) / planned.stack();
  part.view.cols = planned.shape(1);
  part.bytes = planned.bytes();
  return part;
}

}  // namespace

absl::Status CheckWeight(const v1::Weight& planned, const loader::PackedWeight& whole) {
  const DType dtype = planned.value_table() ? whole.table.dtype : whole.view.dtype;
  const int64_t stack = std::ssize(whole.stack);
  int64_t rows = whole.view.rows * std::max<int64_t>(1, stack);
  int64_t cols = whole.view.cols;
  if (planned.value_table()) {
    rows = whole.table.rows;
    cols = int64_t{whole.table.pre_width} + whole.table.width;
  } else if (planned.shape(0) == 1 && cols == 1) {
    std::swap(rows, cols);  // vectors are stored as one column
  }
  const bool cut = planned.layout().kind() == v1::Layout::SPLIT;
  const bool table_fits = !planned.value_table() || cut || whole.bytes == planned.bytes();
  const bool fits = planned.stack() > 0
                        ? stack > 0 && StackFits(planned, whole)
                        : stack == 0 && Fits(planned, 0, rows) && Fits(planned, 1, cols);
  if (dtype == DTypeOfElement(planned.type()) && fits && table_fits) return absl::OkStatus();
  return Misfit(planned, whole, rows, cols);
}

absl::Status CheckPart(const v1::Weight& planned, const loader::PackedWeight& part) {
  const bool table = planned.value_table();
  const int64_t stack = std::ssize(part.stack);
  const int64_t rows = table ? part.table.rows : part.view.rows * std::max<int64_t>(1, stack);
  const int64_t cols = table ? int64_t{part.table.pre_width} + part.table.width : part.view.cols;
  const DType dtype = table ? part.table.dtype : part.view.dtype;
  if (dtype == DTypeOfElement(planned.type()) && rows == planned.shape(0) &&
      cols == planned.shape(1) && stack == planned.stack() && part.bytes == planned.bytes()) {
    return absl::OkStatus();
  }
  return Misfit(planned, part, rows, cols);
}

loader::PackedWeight PartOf(const v1::Weight& planned, const loader::PackedWeight& whole) {
  if (planned.stack() > 0) return PartOfStack(planned, whole);
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
