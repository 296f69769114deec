#include <cmath>

#include "kernels/row_gate/row_gate.h"

namespace mneme::kernels {

Traffic RowGateReference(const RowGateArgs& args) {
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const float sigmoid = 1.0f / (1.0f + std::exp(-args.gate.row(t)[0]));
    for (int64_t i = 0; i < args.x.cols; ++i) args.y.row(t)[i] = args.x.row(t)[i] * sigmoid;
  }
  return RowGateTraffic(args);
}

Traffic RowGateTraffic(const RowGateArgs& args) {
  Traffic traffic;
  traffic.Read(TrafficClass::kActivations,
               static_cast<uint64_t>(args.x.rows * (args.x.cols + 1) * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(args.x.rows * args.x.cols * 4));
  return traffic;
}

}  // namespace mneme::kernels
