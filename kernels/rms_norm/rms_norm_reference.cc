#include <cmath>

#include "kernels/rms_norm/rms_norm.h"

namespace mneme::kernels {

Traffic RmsNormReference(const RmsNormArgs& args) {
  const bool given = !args.squares.empty();
  const int64_t width = given ? args.x.cols : args.width;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t c = 0; c < args.x.cols; c += width) {
      const float* x = args.x.row(r) + c;
      float* y = args.y.row(r) + c;
      float squares = given ? *args.squares.row(r) : 0;
      for (int64_t i = 0; i < width && !given; ++i) squares += x[i] * x[i];
      const float rms = std::sqrt(squares / static_cast<float>(args.width) + args.eps);
      for (int64_t i = 0; i < width; ++i) {
        y[i] = x[i] / rms;
        if (args.weight != nullptr) y[i] *= args.weight[i];
        if (args.bias != nullptr) y[i] += args.bias[i];
      }
    }
  }
  return RmsNormTraffic(args);
}

Traffic RmsNormTraffic(const RmsNormArgs& args) {
  Traffic traffic;
  const int64_t vectors = (args.weight != nullptr) + (args.bias != nullptr);
  const uint64_t bytes = static_cast<uint64_t>(args.x.rows * args.x.cols * 4);
  const bool given = !args.squares.empty();
  const int64_t width = given ? args.x.cols : args.width;
  traffic.Read(TrafficClass::kDenseWeights, static_cast<uint64_t>(vectors * width * 4));
  traffic.Read(TrafficClass::kActivations,
               bytes + (given ? static_cast<uint64_t>(args.x.rows * 4) : 0));
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
