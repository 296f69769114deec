"""Mneme's own build rules: warning flags, C++ from .proto, operator folders."""

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Werror",
]

def mneme_cc_library(name, copts = [], **kwargs):
    """A cc_library of ours: warnings are errors."""
    native.cc_library(name = name, copts = WARNINGS + copts, **kwargs)

def mneme_cc_binary(name, copts = [], **kwargs):
    """A cc_binary of ours: warnings are errors."""
    native.cc_binary(name = name, copts = WARNINGS + copts, **kwargs)

def mneme_cc_test(name, copts = [], deps = [], main = True, **kwargs):
    """A GoogleTest test of ours; main = False when the test brings its own main()."""
    native.cc_test(
        name = name,
        copts = WARNINGS + copts,
        deps = deps + ["@system//:gtest_main" if main else "@system//:gtest"],
        **kwargs
    )

def mneme_cc_proto_library(name, src, deps = [], grpc = False, **kwargs):
    """C++ (and gRPC) code of one .proto file, generated with the system's protoc.

    Imports are resolved from the workspace root, e.g. `import "proto/mneme/v1/plan.proto";`.
    deps: other mneme_cc_proto_library targets of the same package whose files are imported.
    """
    stem = src[:-len(".proto")]
    outs = [stem + ".pb.h", stem + ".pb.cc"]
    cmd = "protoc -I. --cpp_out=$(GENDIR) "
    if grpc:
        outs += [stem + ".grpc.pb.h", stem + ".grpc.pb.cc"]
        cmd += "--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) --grpc_out=$(GENDIR) "
    native.filegroup(
        name = name + "_src",
        srcs = [src] + [d + "_src" for d in deps],
        visibility = ["//visibility:public"],
    )
    native.genrule(
        name = name + "_generated",
        srcs = [src] + [d + "_src" for d in deps],
        outs = outs,
        cmd = cmd + "$(location " + src + ")",
    )
    native.cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        deps = deps + ["@system//:grpc" if grpc else "@system//:protobuf"],
        **kwargs
    )
