#include "kernels/rope/rope.h"

namespace mneme::kernels {

Traffic RopeReference(const RopeArgs& args) {
  const int64_t half = args.head_dim / 2;
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const int32_t position = args.positions[static_cast<size_t>(t)];
    const float* c = args.cos.row(position);
    const float* s = args.sin.row(position);
    for (int64_t h = 0; h < args.x.cols; h += args.head_dim) {
      float* lower = args.x.row(t) + h;
      float* upper = lower + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = lower[i];
        const float b = upper[i];
        lower[i] = a * c[i] - b * s[i];
        upper[i] = b * c[i] + a * s[i];
      }
    }
  }
  return RopeTraffic(args);
}

Traffic RopeTraffic(const RopeArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.x.rows * args.x.cols * 4);
  traffic.Read(TrafficClass::kDenseWeights, static_cast<uint64_t>(args.x.rows * args.head_dim * 4));
  traffic.Read(TrafficClass::kActivations, bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
