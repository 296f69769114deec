// How a step's rows are divided among ranks.
#ifndef MNEME_ENGINE_RUNTIME_ROW_SPLIT_H_
#define MNEME_ENGINE_RUNTIME_ROW_SPLIT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/mneme/v1/plan.pb.h"

namespace mneme::runtime {

// Whether a register, or an input as it is read, is divided by rows.
inline bool SplitsRows(const v1::Layout& layout) {
  return layout.kind() == v1::Layout::SPLIT && layout.axis() == 0;
}

// Some of a step's rows.
struct RowRange {
  int64_t begin = 0;
  int64_t count = 0;

  // One of so many parts of `rows`, as plan.proto's Layout says.
  static RowRange Part(int64_t rows, int32_t part, int32_t parts) {
    const int64_t begin = rows * part / parts;
    return {begin, rows * (part + 1) / parts - begin};
  }
  // Of something that has an element for each of the step's rows.
  template <class T>
  std::span<T> Of(std::span<T> all) const {
    return all.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_ROW_SPLIT_H_
