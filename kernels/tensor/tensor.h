// Views of tensors in memory. A view never owns what it points at; owners are kernels::Buffer, the
// runtime's arena and mapped files. All views are trivially copyable and may be shared between
// threads as long as nobody writes.
#ifndef MNEME_KERNELS_TENSOR_TENSOR_H_
#define MNEME_KERNELS_TENSOR_TENSOR_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace mneme::kernels {

enum class DType : uint8_t { kF32, kBf16, kI32, kI64 };

// Bytes of one element.
constexpr int64_t DTypeBytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBf16:
      return 2;
    case DType::kI64:
      return 8;
  }
  return 0;
}

constexpr const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBf16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
  }
  return "?";
}

// bfloat16: the upper half of a float32. Widening is exact.
struct Bf16 {
  uint16_t bits;
};

inline float ToFloat(float x) { return x; }
inline float ToFloat(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

// Rounds to nearest, ties to even; NaN stays NaN (quiet).
inline Bf16 ToBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return Bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return Bf16{static_cast<uint16_t>(bits >> 16)};
}

template <class T>
constexpr DType DTypeOf() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) {
    return DType::kF32;
  } else if constexpr (std::is_same_v<U, Bf16>) {
    return DType::kBf16;
  } else if constexpr (std::is_same_v<U, int32_t>) {
    return DType::kI32;
  } else {
    static_assert(std::is_same_v<U, int64_t>, "no DType for this type");
    return DType::kI64;
  }
}

// A typed row-major matrix [rows, cols]; row r starts at data + r * row_stride (in elements).
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;

  T* row(int64_t r) const { return data + r * row_stride; }
  bool empty() const { return data == nullptr; }
  // A view of rows [first, first + count).
  Matrix Rows(int64_t first, int64_t count) const {
    return Matrix{data + first * row_stride, count, cols, row_stride};
  }
  operator Matrix<const T>() const { return {data, rows, cols, row_stride}; }
};

template <class T>
Matrix<T> MakeMatrix(T* data, int64_t rows, int64_t cols) {
  return Matrix<T>{data, rows, cols, cols};
}

// A read-only matrix whose element type is known at run time only (a weight). row_stride is in
// elements. As<T>() is the one check of the type; REQUIRES: DTypeOf<T>() == dtype.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;

  bool empty() const { return data == nullptr; }
  int64_t bytes() const { return rows * cols * DTypeBytes(dtype); }
  template <class T>
  Matrix<const T> As() const {
    if (DTypeOf<T>() != dtype) __builtin_trap();
    return Matrix<const T>{static_cast<const T*>(data), rows, cols, row_stride};
  }
};

template <class T>
TensorView MakeTensorView(Matrix<T> m) {
  return TensorView{m.data, DTypeOf<T>(), m.rows, m.cols, m.row_stride};
}

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_TENSOR_TENSOR_H_
