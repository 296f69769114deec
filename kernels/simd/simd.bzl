"""Rules for code built on kernels/simd."""

load("//third_party:mneme.bzl", "mneme_cc_binary", "mneme_cc_library", "mneme_cc_test")

# Contraction would turn a multiply and an add into one fused operation where the compiler likes, so
# that two tile shapes (or two instruction sets) of one kernel could give different bits. MulAdd is
# the only fused operation. GCC 12 reports the undefined operands of its own AVX-512 intrinsics as
# uninitialized (GCC bug 105593).
SIMD_COPTS = [
    "-ffp-contract=off",
    "-Wno-uninitialized",
] + select({
    "//third_party/fuzz:fuzzing": [],  # clang, which has no such warning
    "//conditions:default": ["-Wno-maybe-uninitialized"],
})

def simd_cc_library(name, copts = [], deps = [], **kwargs):
    """A library of ours whose .cc files include kernels/simd/for_each_isa.inl."""
    mneme_cc_library(
        name = name,
        copts = SIMD_COPTS + copts,
        deps = deps + ["//kernels/simd"],
        **kwargs
    )

def simd_cc_test(name, copts = [], deps = [], **kwargs):
    """A test of ours that uses kernels/simd itself; others use mneme_cc_test."""
    mneme_cc_test(name = name, copts = SIMD_COPTS + copts, deps = deps + ["//kernels/simd"], **kwargs)

def simd_cc_binary(name, copts = [], deps = [], **kwargs):
    """A binary (benchmark) of ours that uses kernels/simd itself."""
    mneme_cc_binary(name = name, copts = SIMD_COPTS + copts, deps = deps + ["//kernels/simd"], **kwargs)
