// The vector layer that the CPU kernels are written on: one source, compiled once per instruction
// set, sixteen float32 lanes on each.
//
// How to write a kernel `foo`:
//
//   foo_simd.inl — the body, in terms of F32x16 and the functions below. No #include, no include
//   guard, no namespace: it is included once per instruction set inside a namespace of its own.
//
//     Traffic Foo(const FooArgs& args) { ... F32x16 sum = MulAdd(a, b, sum); ... }
//
//   foo_cpu.cc
//
//     #include "kernels/foo/foo.h"
//     #include "kernels/simd/simd.h"      // and every other header: none may come later
//     #define MNEME_SIMD_BODY "kernels/foo/foo_simd.inl"
//     #include "kernels/simd/for_each_isa.inl"
//     namespace mneme::kernels {
//     FooFn ResolveFoo(Isa isa) { return MNEME_SIMD_SELECT(isa, Foo); }
//     }
//
//   BUILD.bazel: simd_cc_library of //kernels/simd:simd.bzl (it switches contraction off), with
//   foo_simd.inl in textual_hdrs.
//
// MNEME_SIMD_SELECT(isa, F) is &F of that instruction set; F may be a template-id. REQUIRES:
// isa <= DetectIsa() before the function is called. A .cc file may include for_each_isa.inl more
// than once, with another body each time. Headers (std's above all) must never be included below
// the raised target: their inline functions would be emitted with instructions that the machine may
// lack, and the linker could pick that copy for the whole program.
//
// A function outside the bodies is called from one before it touches vectors: GCC keeps their upper
// halves alive over a call of a function that it knows, and on Intel's CPUs SSE instructions beside
// them are slow (400 cycles for five of them, measured).
//
// What a body sees (see vec_*.inl for the rest of each contract):
//   F32x16                       sixteen float32 lanes; Mask16: sixteen truth values
//   Zero(), Splat(x)
//   Load(p), LoadPartial(p, n)   from const float* or const Bf16* (widened), no alignment needed;
//                                partial: 0 <= n <= 16, lanes from n on are 0 and are not read;
//                                p is not null even then
//   LoadInAnyOrder(p)            sixteen elements in the order of lanes that is cheapest to widen,
//                                the same for float and Bf16; InOrder(v) puts the lanes in order
//   Store(v, p), StorePartial(v, p, n)   to float*
//   Add Sub Mul Div Max Min      lane by lane; Max and Min give b where either is NaN
//   MulAdd(a, b, c)              a·b + c, fused (one rounding) on kAvx2 and kAvx512, two roundings
//                                on kPortable; NegMulAdd(a, b, c): c − a·b
//   Sqrt, Abs, Round (to nearest even, |x| < 2^22)
//   Less(a, b), GreaterEqual(a, b) -> Mask16; Choose(mask, a, b): a where true, else b;
//   Bits(mask) -> uint32_t, bit l for lane l; FirstLanes(n) -> Mask16
//   ReduceAdd(v), ReduceMax(v)   over the lanes, to a float; ReduceAddEach<N>(v, out): out[j] =
//                                ReduceAdd(v[j]), the same bits, cheaper together
//   ReduceAdd16(v), ReduceAdd8(v)   the same as a vector, lane j: ReduceAdd(v[j]); of eight, lanes
//                                8 to 15 repeat lanes 0 to 7
//   LoadHalves(lo, hi), StoreHalves(v, lo, hi)   lanes 0 to 7 at lo, lanes 8 to 15 at hi
//   Exp, Sigmoid, Silu, Erf, Gelu   lane by lane (vec_math.inl gives the errors)
//   Prefetch(p), PrefetchToL2(p) the cache line at p, which need not be mapped
//   InRegister(v), Opaque(x)     the same value, held in a register from here on
//   kSimdRegisters               vector registers in units of F32x16, to size tiles
//   kSimdParts, kPartLanes       machine registers of an F32x16, and lanes of each; F32Part is one.
//   LoadPart(p), StorePart(v, p), MulAddPart(a, b, c), InRegisterPart(v)   as for F32x16, of one
//                                part: a tile of parts needs a register each
//
// Bits: kAvx2 and kAvx512 give the same bits for everything here. ReduceAdd adds lane l and l + 8,
// then l and l + 4, then l and l + 2, then l and l + 1.
#ifndef MNEME_KERNELS_SIMD_SIMD_H_
#define MNEME_KERNELS_SIMD_SIMD_H_

#if defined(__x86_64__)
#include <immintrin.h>
#define MNEME_SIMD_X86 1
#else
#define MNEME_SIMD_X86 0
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/device/isa.h"
#include "kernels/tensor/tensor.h"

// Everything of the vector layer is inlined: a call would pass vectors through memory.
#define MNEME_SIMD_INLINE inline __attribute__((always_inline))

#if MNEME_SIMD_X86
#define MNEME_SIMD_SELECT(isa, ...)                               \
  ((isa) == ::mneme::kernels::Isa::kAvx512 ? &avx512::__VA_ARGS__ \
   : (isa) == ::mneme::kernels::Isa::kAvx2 ? &avx2::__VA_ARGS__   \
                                           : &portable::__VA_ARGS__)
#else
#define MNEME_SIMD_SELECT(isa, ...) ((void)(isa), &portable::__VA_ARGS__)
#endif

#endif  // MNEME_KERNELS_SIMD_SIMD_H_
