// Measures what plans assume of this machine.
#ifndef MNEME_ENGINE_CALIBRATE_H_
#define MNEME_ENGINE_CALIBRATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/plan/cluster.h"
#include "kernels/device/isa.h"

namespace mneme {

struct CalibrateOptions {
  int32_t ranks = 0;  // the most that are measured; 0: as many as there are usable cores
  kernels::Isa isa = kernels::Isa::kPortable;
  // Weights that all ranks together read in a pass: far more than caches hold.
  int64_t bytes = int64_t{512} << 20;
  int32_t passes = 5;
};

// A cluster of one axis whose ranks are threads of this process: for 1, 2, 4, ... ranks that work
// at once, what each reads per second in address order, what a random row of 2 KiB takes beyond its
// bytes, what the linear kernel does for several numbers of rows with weights from memory; what a
// meeting of all ranks that have worked and the sum of their tensors take. Medians of passes that
// all ranks begin together, each as long as its slowest rank takes. The memory is what is free.
// Threads: as many as ranks, which sleep afterwards. RESOURCE_EXHAUSTED with the bytes when the
// memory cannot be had, INVALID_ARGUMENT names an option out of range.
absl::StatusOr<plan::Cluster> Calibrate(const CalibrateOptions& options);

}  // namespace mneme

#endif  // MNEME_ENGINE_CALIBRATE_H_
