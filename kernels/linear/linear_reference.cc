#include "kernels/linear/linear.h"

namespace mneme::kernels {
namespace {

template <class W>
void Contract(const LinearArgs& args) {
  const Matrix<const W> w = args.w.As<W>();
  for (int64_t t = 0; t < args.x.rows; ++t) {
    for (int64_t o = 0; o < w.rows; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < w.cols; ++i) sum += args.x.row(t)[i] * ToFloat(w.row(o)[i]);
      if (args.bias != nullptr) sum += args.bias[o];
      args.y.row(t)[o] = sum * args.scale;
    }
  }
}

}  // namespace

Traffic LinearReference(const LinearArgs& args) {
  if (args.w.dtype == DType::kF32) {
    Contract<float>(args);
  } else {
    Contract<Bf16>(args);
  }
  return LinearTraffic(args);
}

Traffic LinearTraffic(const LinearArgs& args) {
  Traffic traffic;
  const int64_t bias_bytes = args.bias != nullptr ? args.w.rows * 4 : 0;
  traffic.Read(TrafficClass::kDenseWeights, static_cast<uint64_t>(args.w.bytes() + bias_bytes));
  traffic.Read(TrafficClass::kActivations, static_cast<uint64_t>(args.x.rows * args.w.cols * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(args.x.rows * args.w.rows * 4));
  return traffic;
}

}  // namespace mneme::kernels
