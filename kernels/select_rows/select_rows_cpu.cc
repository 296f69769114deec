#include <cstring>

#include "kernels/select_rows/select_rows.h"

namespace mneme::kernels {
namespace {

Traffic SelectRows(const SelectRowsArgs& args) {
  const size_t bytes = static_cast<size_t>(args.y.cols) * sizeof(float);
  for (int64_t i = 0; i < args.y.rows; ++i) {
    std::memcpy(args.y.row(i), args.x.row(args.rows[static_cast<size_t>(i)]), bytes);
  }
  return SelectRowsTraffic(args);
}

}  // namespace

SelectRowsFn ResolveSelectRows(Isa) { return SelectRows; }

}  // namespace mneme::kernels
