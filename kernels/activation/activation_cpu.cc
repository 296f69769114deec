#include "kernels/activation/activation.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/activation/activation_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

ActivationFn ResolveActivation(ActivationKind kind, Isa isa) {
  switch (kind) {
    case ActivationKind::kSwiglu:
      return MNEME_SIMD_SELECT(isa, Activation<ActivationKind::kSwiglu>);
    case ActivationKind::kGelu:
      return MNEME_SIMD_SELECT(isa, Activation<ActivationKind::kGelu>);
    case ActivationKind::kRelu:
      break;
  }
  return MNEME_SIMD_SELECT(isa, Activation<ActivationKind::kRelu>);
}

}  // namespace mneme::kernels
