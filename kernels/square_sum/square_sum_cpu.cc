#include "kernels/simd/simd.h"
#include "kernels/square_sum/square_sum.h"

#define MNEME_SIMD_BODY "kernels/square_sum/square_sum_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

SquareSumFn ResolveSquareSum(Isa isa) { return MNEME_SIMD_SELECT(isa, SquareSum); }

}  // namespace mneme::kernels
