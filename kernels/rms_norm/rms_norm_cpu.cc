#include "kernels/rms_norm/rms_norm.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/rms_norm/rms_norm_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

RmsNormFn ResolveRmsNorm(Isa isa) { return MNEME_SIMD_SELECT(isa, RmsNorm); }

}  // namespace mneme::kernels
