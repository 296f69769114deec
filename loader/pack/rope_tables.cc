#include "loader/pack/rope_tables.h"

namespace mneme::loader {

void FillRope(const AttentionDescription& attention, kernels::RopePositions positions, float* cos,
              float* sin) {
  const RopeDescription& rope = attention.rope;
  if (!rope.frequencies.empty()) {
    kernels::FillRopeTables(rope.frequencies, rope.scale, positions, cos, sin);
    return;
  }
  kernels::FillRopeTables(kernels::RopeFrequencies(rope.theta, attention.head_dim), rope.scale,
                          positions, cos, sin);
}

}  // namespace mneme::loader
