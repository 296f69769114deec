#include "kernels/clamp/clamp.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/clamp/clamp_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

ClampFn ResolveClamp(Isa isa) { return MNEME_SIMD_SELECT(isa, Clamp); }

}  // namespace mneme::kernels
