#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/router/router.h"

namespace mneme::kernels {

Traffic RouterReference(const RouterArgs& args) {
  const int64_t experts = args.logits.cols;
  const int64_t top_k = args.expert.cols;
  for (int64_t t = 0; t < args.logits.rows; ++t) {
    std::vector<float> logit(args.logits.row(t), args.logits.row(t) + experts);
    for (float& x : logit) {
      if (std::isnan(x)) x = -std::numeric_limits<float>::infinity();
    }
    std::vector<int32_t> order(static_cast<size_t>(experts));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logit[a] > logit[b]; });
    const float greatest = logit[order[0]];
    std::vector<int32_t> chosen(order.begin(), order.begin() + top_k);
    std::sort(chosen.begin(), chosen.end());
    float sum = 0;
    for (int32_t e : args.renormalise ? chosen : order) sum += std::exp(logit[e] - greatest);
    for (int64_t j = 0; j < top_k; ++j) {
      args.expert.row(t)[j] = chosen[j];
      args.weight.row(t)[j] = std::exp(logit[chosen[j]] - greatest) / sum;
    }
  }
  return RouterTraffic(args);
}

Traffic RouterTraffic(const RouterArgs& args) {
  Traffic traffic;
  traffic.Read(TrafficClass::kActivations,
               static_cast<uint64_t>(args.logits.rows * args.logits.cols * 4));
  traffic.Write(TrafficClass::kActivations,
                static_cast<uint64_t>(args.expert.rows * args.expert.cols * 8));
  return traffic;
}

}  // namespace mneme::kernels
