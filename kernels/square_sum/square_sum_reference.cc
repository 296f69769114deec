#include "kernels/square_sum/square_sum.h"

namespace mneme::kernels {

Traffic SquareSumReference(const SquareSumArgs& args) {
  for (int64_t t = 0; t < args.x.rows; ++t) {
    float sum = 0;
    for (int64_t i = 0; i < args.x.cols; ++i) sum += args.x.row(t)[i] * args.x.row(t)[i];
    *args.y.row(t) = sum;
  }
  return SquareSumTraffic(args);
}

Traffic SquareSumTraffic(const SquareSumArgs& args) {
  Traffic traffic;
  traffic.Read(TrafficClass::kActivations, static_cast<uint64_t>(args.x.rows * args.x.cols * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(args.x.rows * 4));
  return traffic;
}

}  // namespace mneme::kernels
