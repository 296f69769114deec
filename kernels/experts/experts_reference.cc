#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/experts/experts.h"

namespace mneme::kernels {
namespace {

float Element(const TensorView& m, int64_t row, int64_t col) {
  return m.dtype == DType::kF32 ? m.As<float>().row(row)[col] : ToFloat(m.As<Bf16>().row(row)[col]);
}

float Dot(const TensorView& m, int64_t row, const float* x) {
  float sum = 0;
  for (int64_t i = 0; i < m.cols; ++i) sum += Element(m, row, i) * x[i];
  return sum;
}

// y += weight · down(up(x) · silu(gate(x))).
void AddExpert(const ExpertWeights& w, const float* x, float weight, float* y) {
  std::vector<float> hidden(static_cast<size_t>(w.gate.rows));
  for (int64_t h = 0; h < w.gate.rows; ++h) {
    const float gate = Dot(w.gate, h, x);
    hidden[h] = Dot(w.up, h, x) * (gate / (1.0f + std::exp(-gate)));
  }
  for (int64_t o = 0; o < w.down.rows; ++o) y[o] += weight * Dot(w.down, o, hidden.data());
}

}  // namespace

Traffic ExpertsReference(const ExpertsArgs& args) {
  const auto count = static_cast<int32_t>(args.weights.size());
  std::vector<std::vector<int64_t>> users(args.weights.size());
  for (int64_t t = 0; t < args.x.rows; ++t) {
    std::fill_n(args.y.row(t), args.y.cols, 0.0f);
    for (int64_t j = 0; j < args.expert.cols; ++j) {
      const int32_t e = args.expert.row(t)[j] - args.first;
      if (e < 0 || e >= count) continue;
      AddExpert(args.weights[e], args.x.row(t), args.weight.row(t)[j], args.y.row(t));
      users[e].push_back(t);
    }
  }
  int64_t active = 0;
  for (size_t e = 0; e < users.size(); ++e) {
    active += users[e].empty() ? 0 : 1;
    for (int64_t t : users[e]) {
      if (args.token_bytes == nullptr) break;
      args.token_bytes[t] +=
          static_cast<double>(args.weights[e].bytes()) / static_cast<double>(users[e].size());
    }
  }
  return ExpertsTraffic(args, active);
}

Traffic ExpertsTraffic(const ExpertsArgs& args, int64_t active) {
  Traffic traffic;
  if (active > 0) {
    traffic.Read(TrafficClass::kExpertWeights,
                 static_cast<uint64_t>(active * args.weights[0].bytes()));
  }
  traffic.Read(TrafficClass::kActivations,
               static_cast<uint64_t>(args.x.rows * (args.x.cols + 2 * args.expert.cols) * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(args.y.rows * args.y.cols * 4));
  return traffic;
}

}  // namespace mneme::kernels
