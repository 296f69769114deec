#include <algorithm>

#include "kernels/clamp/clamp.h"

namespace mneme::kernels {

Traffic ClampReference(const ClampArgs& args) {
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t i = 0; i < args.x.cols; ++i) {
      float& x = args.x.row(r)[i];
      x = std::min(std::max(x, -args.limit), args.limit);
    }
  }
  return ClampTraffic(args);
}

Traffic ClampTraffic(const ClampArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.x.rows * args.x.cols * 4);
  traffic.Read(TrafficClass::kActivations, bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
