// Includes MNEME_SIMD_BODY once per instruction set, each time on top of that set's vector layer,
// in namespace mneme::kernels::{portable,avx2,avx512} and an unnamed namespace inside it (so that
// two .cc files never share a symbol). Use: see kernels/simd/simd.h. Undefines MNEME_SIMD_BODY.
#ifndef MNEME_KERNELS_SIMD_SIMD_H_
#error "include kernels/simd/simd.h first"
#endif

namespace mneme::kernels::portable {
namespace {
#include "kernels/simd/vec_portable.inl"
// The body comes last.
#include MNEME_SIMD_BODY
}  // namespace
}  // namespace mneme::kernels::portable

#if MNEME_SIMD_X86

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#endif
namespace mneme::kernels::avx2 {
namespace {
#include "kernels/simd/vec_avx2.inl"
// The body comes last.
#include MNEME_SIMD_BODY
}  // namespace
}  // namespace mneme::kernels::avx2
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
namespace mneme::kernels::avx512 {
namespace {
#include "kernels/simd/vec_avx512.inl"
// The body comes last.
#include MNEME_SIMD_BODY
}  // namespace
}  // namespace mneme::kernels::avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // MNEME_SIMD_X86

#undef MNEME_SIMD_BODY
