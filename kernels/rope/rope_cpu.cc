#include "kernels/rope/rope.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/rope/rope_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

RopeFn ResolveRope(Isa isa) { return MNEME_SIMD_SELECT(isa, Rope); }

}  // namespace mneme::kernels
