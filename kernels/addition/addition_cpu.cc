#include "kernels/addition/addition.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/addition/addition_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

AdditionFn ResolveAddition(Isa isa) { return MNEME_SIMD_SELECT(isa, Addition); }

}  // namespace mneme::kernels
