#include "loader/pack/rope_tables.h"

#include "kernels/rope/rope.h"

namespace mneme::loader {

void FillRope(const AttentionDescription& attention, int64_t positions, float* cos, float* sin) {
  const RopeDescription& rope = attention.rope;
  if (!rope.frequencies.empty()) {
    kernels::FillRopeTables(rope.frequencies, rope.scale, positions, cos, sin);
    return;
  }
  kernels::FillRopeTables(kernels::RopeFrequencies(rope.theta, attention.head_dim), rope.scale,
                          positions, cos, sin);
}

}  // namespace mneme::loader
