#include <algorithm>
#include <type_traits>

#include "kernels/linear/linear.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/linear/linear_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

LinearFn ResolveLinear(DType weight, Isa isa) {
  if (weight == DType::kF32) return MNEME_SIMD_SELECT(isa, Linear<float>);
  return MNEME_SIMD_SELECT(isa, Linear<Bf16>);
}

}  // namespace mneme::kernels
