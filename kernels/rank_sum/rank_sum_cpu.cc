#include "kernels/rank_sum/rank_sum.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/rank_sum/rank_sum_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

RankSumFn ResolveRankSum(Isa isa) { return MNEME_SIMD_SELECT(isa, RankSum); }

}  // namespace mneme::kernels
