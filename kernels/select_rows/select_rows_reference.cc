#include "kernels/select_rows/select_rows.h"

namespace mneme::kernels {

Traffic SelectRowsReference(const SelectRowsArgs& args) {
  for (int64_t i = 0; i < args.y.rows; ++i) {
    for (int64_t c = 0; c < args.y.cols; ++c) {
      args.y.row(i)[c] = args.x.row(args.rows[static_cast<size_t>(i)])[c];
    }
  }
  return SelectRowsTraffic(args);
}

Traffic SelectRowsTraffic(const SelectRowsArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.y.rows * args.y.cols * 4);
  traffic.Read(TrafficClass::kActivations, bytes + static_cast<uint64_t>(args.y.rows * 4));
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
