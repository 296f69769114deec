#include <cmath>

#include "kernels/layer_norm/layer_norm.h"

namespace mneme::kernels {

Traffic LayerNormReference(const LayerNormArgs& args) {
  const float width = static_cast<float>(args.width);
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t c = 0; c < args.x.cols; c += args.width) {
      const float* x = args.x.row(r) + c;
      float* y = args.y.row(r) + c;
      float sum = 0;
      for (int64_t i = 0; i < args.width; ++i) sum += x[i];
      const float mean = sum / width;
      float squares = 0;
      for (int64_t i = 0; i < args.width; ++i) squares += (x[i] - mean) * (x[i] - mean);
      const float deviation = std::sqrt(squares / width + args.eps);
      for (int64_t i = 0; i < args.width; ++i) {
        y[i] = (x[i] - mean) / deviation;
        if (args.weight != nullptr) y[i] *= args.weight[i];
        if (args.bias != nullptr) y[i] += args.bias[i];
      }
    }
  }
  return LayerNormTraffic(args);
}

Traffic LayerNormTraffic(const LayerNormArgs& args) {
  Traffic traffic;
  const int64_t vectors = (args.weight != nullptr) + (args.bias != nullptr);
  const uint64_t bytes = static_cast<uint64_t>(args.x.rows * args.x.cols * 4);
  traffic.Read(TrafficClass::kDenseWeights, static_cast<uint64_t>(vectors * args.width * 4));
  traffic.Read(TrafficClass::kActivations, bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
