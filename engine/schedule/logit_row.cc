#include "engine/schedule/logit_row.h"

#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "engine/schedule/logit_row_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {
namespace {

const schedule::LogitRowKernels* Select(Isa isa) { return MNEME_SIMD_SELECT(isa, kLogitRow); }

}  // namespace
}  // namespace mneme::kernels

namespace mneme::schedule {

const LogitRowKernels& ResolveLogitRow(kernels::Isa isa) { return *kernels::Select(isa); }

}  // namespace mneme::schedule
