#include "kernels/row_gate/row_gate.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/row_gate/row_gate_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {

RowGateFn ResolveRowGate(Isa isa) { return MNEME_SIMD_SELECT(isa, RowGate); }

}  // namespace mneme::kernels
