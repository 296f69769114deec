#include "kernels/rank_sum/rank_sum.h"

namespace mneme::kernels {

Traffic RankSumReference(const RankSumArgs& args) {
  for (int64_t r = 0; r < args.y.rows; ++r) {
    for (int64_t i = 0; i < args.y.cols; ++i) {
      float sum = args.addends[0][r * args.addend_stride + i];
      for (size_t a = 1; a < args.addends.size(); ++a) {
        sum += args.addends[a][r * args.addend_stride + i];
      }
      args.y.row(r)[i] = sum;
    }
  }
  return RankSumTraffic(args);
}

Traffic RankSumTraffic(const RankSumArgs& args) {
  Traffic traffic;
  const uint64_t bytes = static_cast<uint64_t>(args.y.rows * args.y.cols * 4);
  traffic.Read(TrafficClass::kActivations, bytes);
  traffic.Read(TrafficClass::kExchange, (args.addends.size() - 1) * bytes);
  traffic.Write(TrafficClass::kActivations, bytes);
  return traffic;
}

}  // namespace mneme::kernels
