// Passes over one row of logits, vectorised. A row is cut into blocks of kRowBlock elements (the
// last may be shorter); per-block results let a caller find one element without a second full pass.
//
// x: [n] f32, any alignment, n >= 1; -inf is an ordinary value that is never chosen. Outputs do not
// alias x. Thread safe; no errors; nothing is allocated. The result is a function of the row alone.
#ifndef MNEME_ENGINE_SCHEDULE_LOGIT_ROW_H_
#define MNEME_ENGINE_SCHEDULE_LOGIT_ROW_H_

#include <cstdint>

#include "kernels/device/isa.h"

namespace mneme::schedule {

inline constexpr int64_t kRowBlock = 64;
constexpr int64_t RowBlocks(int64_t n) { return (n + kRowBlock - 1) / kRowBlock; }

struct MassAndCount {
  double mass = 0;
  int64_t count = 0;
};

struct LogitRowKernels {
  // maxima[b] = the largest element of block b, NaN left out (-inf if nothing else is there).
  // Returns the largest of all.
  float (*block_maxima)(const float* x, int64_t n, float* maxima);
  // Whether no element is NaN or infinite.
  bool (*all_finite)(const float* x, int64_t n);
  // y_i = exp((x_i - max) * scale), sums[b] = the sum of y over block b. max is finite. y may be
  // null: then only the sums are wanted.
  void (*exponentials)(const float* x, int64_t n, float max, float scale, float* y, float* sums);
  // sums[b] = the sum of block b's elements that are >= floor.
  void (*block_sums)(const float* x, int64_t n, float floor, float* sums);
  // The sum of all elements >= floor, and how many they are.
  MassAndCount (*mass_at_least)(const float* x, int64_t n, float floor);
  // Writes the ascending indices i with floor <= x_i < ceiling to ids [n] and returns their number;
  // ceiling +inf lets +inf itself in.
  int64_t (*in_range)(const float* x, int64_t n, float floor, float ceiling, int32_t* ids);
};

// REQUIRES: isa <= kernels::DetectIsa().
const LogitRowKernels& ResolveLogitRow(kernels::Isa isa);

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_LOGIT_ROW_H_
