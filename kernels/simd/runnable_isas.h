// The instruction sets that tests run every implementation on.
#ifndef MNEME_KERNELS_SIMD_RUNNABLE_ISAS_H_
#define MNEME_KERNELS_SIMD_RUNNABLE_ISAS_H_

#include <vector>

#include "kernels/device/isa.h"

namespace mneme::kernels {

// All that this machine can execute, the portable one first.
inline std::vector<Isa> RunnableIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_SIMD_RUNNABLE_ISAS_H_
