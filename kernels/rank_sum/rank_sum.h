// y = addends[0] + addends[1] + ..., added in that order, element by element.
//
// addends: each [rows, cols] f32 with addend_stride elements from row to row, any alignment; at
// least one. y: [rows, cols] f32, any row stride.
// Aliasing: y may be one of the addends (same data and stride); otherwise it overlaps none.
// Bits: one rounding per addition, the same order for every element wherever it stands and however
// many there are, on every instruction set. A sum of partial tensors is therefore the same on every
// rank and in every batch, which a library's ring reduction does not give.
// Threads: one; distinct calls share nothing. Errors: none. Allocates nothing.
// Traffic: the first addend's reads and y's writes (activations), the others' reads (exchange).
#ifndef MNEME_KERNELS_RANK_SUM_RANK_SUM_H_
#define MNEME_KERNELS_RANK_SUM_RANK_SUM_H_

#include <cstdint>
#include <span>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"
#include "kernels/traffic/traffic.h"

namespace mneme::kernels {

struct RankSumArgs {
  std::span<const float* const> addends;
  int64_t addend_stride = 0;
  Matrix<float> y;  // [rows, cols]
};

using RankSumFn = Traffic (*)(const RankSumArgs&);

// The definition in plain loops.
Traffic RankSumReference(const RankSumArgs& args);

// REQUIRES: isa <= DetectIsa() when the result is called.
RankSumFn ResolveRankSum(Isa isa);

// What any implementation reports for these shapes.
Traffic RankSumTraffic(const RankSumArgs& args);

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_RANK_SUM_RANK_SUM_H_
