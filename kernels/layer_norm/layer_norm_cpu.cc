#include "kernels/layer_norm/layer_norm.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/layer_norm/layer_norm_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

LayerNormFn ResolveLayerNorm(Isa isa) { return MNEME_SIMD_SELECT(isa, LayerNorm); }

}  // namespace mneme::kernels
