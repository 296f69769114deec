#include <cmath>

#include "kernels/rope/rope.h"

namespace mneme::kernels {

std::vector<float> RopeFrequencies(float theta, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    frequencies.push_back(1.0f / std::pow(theta, exponent));
  }
  return frequencies;
}

void FillRopeTables(std::span<const float> frequencies, float scale, RopePositions positions,
                    float* cos, float* sin) {
  for (int64_t p = positions.first; p < positions.first + positions.count; ++p) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(p) * frequency;
      *cos++ = scale * std::cos(angle);
      *sin++ = scale * std::sin(angle);
    }
  }
}

}  // namespace mneme::kernels
