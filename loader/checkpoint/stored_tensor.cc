#include "loader/checkpoint/stored_tensor.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mneme::loader {

const char* StoredDTypeName(StoredDType dtype) {
  switch (dtype) {
    case StoredDType::kF32:
      return "F32";
    case StoredDType::kBf16:
      return "BF16";
    case StoredDType::kF16:
      return "F16";
    case StoredDType::kF64:
      return "F64";
    case StoredDType::kI64:
      return "I64";
    case StoredDType::kI32:
      return "I32";
    case StoredDType::kI16:
      return "I16";
    case StoredDType::kI8:
      return "I8";
    case StoredDType::kU8:
      return "U8";
    case StoredDType::kBool:
      return "BOOL";
  }
  return "?";
}

int64_t StoredDTypeBytes(StoredDType dtype) {
  switch (dtype) {
    case StoredDType::kF64:
    case StoredDType::kI64:
      return 8;
    case StoredDType::kF32:
    case StoredDType::kI32:
      return 4;
    case StoredDType::kBf16:
    case StoredDType::kF16:
    case StoredDType::kI16:
      return 2;
    case StoredDType::kI8:
    case StoredDType::kU8:
    case StoredDType::kBool:
      return 1;
  }
  return 0;
}

int64_t StoredTensor::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::string StoredTensor::Describe() const {
  return absl::StrCat(ShapeString(shape), " ", StoredDTypeName(dtype));
}

bool CountElements(std::span<const int64_t> shape, int64_t* elements) {
  int64_t product = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return false;
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, size, &product)) {
      return false;
    }
  }
  *elements = empty ? 0 : product;
  return true;
}

std::string ShapeString(std::span<const int64_t> shape) {
  if (shape.size() <= kShownDimensions) return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
  return absl::StrCat("[", absl::StrJoin(shape.first(kShownDimensions), ", "), ", ... ",
                      shape.size(), " in all]");
}

}  // namespace mneme::loader
