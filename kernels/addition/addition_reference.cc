#include "kernels/addition/addition.h"

namespace mneme::kernels {

Traffic AdditionReference(const AdditionArgs& args) {
  for (int64_t r = 0; r < args.y.rows; ++r) {
    for (int64_t i = 0; i < args.y.cols; ++i) {
      args.y.row(r)[i] = args.a.row(r)[i] + args.b.row(r)[i];
    }
  }
  return AdditionTraffic(args);
}

Traffic AdditionTraffic(const AdditionArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.y.rows * args.y.cols * 4);
  traffic.Read(TrafficClass::kActivations, 2 * bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
