#include <cmath>

#include "kernels/activation/activation.h"

namespace mneme::kernels {

Traffic ActivationReference(const ActivationArgs& args) {
  for (int64_t r = 0; r < args.a.rows; ++r) {
    for (int64_t i = 0; i < args.a.cols; ++i) {
      const float a = args.a.row(r)[i];
      float y = a;
      switch (args.kind) {
        case ActivationKind::kSwiglu: {
          const float g = args.g.row(r)[i];
          y = a * (g / (1.0f + std::exp(-g)));
          break;
        }
        case ActivationKind::kGelu:
          y = 0.5f * a * (1.0f + std::erf(a * 0.70710678f));
          break;
        case ActivationKind::kRelu:
          y = a < 0.0f ? 0.0f : a;
          break;
      }
      args.y.row(r)[i] = y;
    }
  }
  return ActivationTraffic(args);
}

Traffic ActivationTraffic(const ActivationArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.a.rows * args.a.cols * 4);
  traffic.Read(TrafficClass::kActivations,
               args.kind == ActivationKind::kSwiglu ? 2 * bytes : bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
