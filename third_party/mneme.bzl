"""Mneme's own build rules: warning flags, C++ from .proto, operator folders."""

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Werror",
]

# Our libraries are always linked statically. Otherwise Bazel compiles each twice: for shared
# libraries, which tests link by default, and for binaries.
def mneme_cc_library(name, copts = [], **kwargs):
    """A cc_library of ours: warnings are errors."""
    native.cc_library(name = name, copts = WARNINGS + copts, linkstatic = True, **kwargs)

def mneme_cc_binary(name, copts = [], **kwargs):
    """A cc_binary of ours: warnings are errors."""
    native.cc_binary(name = name, copts = WARNINGS + copts, **kwargs)

def mneme_cc_test(name, copts = [], deps = [], main = True, size = "small", **kwargs):
    """A GoogleTest test of ours; main = False when the test brings its own main().

    .bazelrc gives a small test 5 minutes, which sanitizers and a busy machine may need; a size that
    is larger than a test's usual time makes Bazel comment on it in every summary.
    """
    native.cc_test(
        name = name,
        size = size,
        copts = WARNINGS + copts,
        linkstatic = True,
        deps = deps + ["@system//:gtest_main" if main else "@system//:gtest"],
        **kwargs
    )

def mneme_cc_fuzz_test(name, srcs, deps = [], corpus = [], dictionary = None, max_len = 65536, **kwargs):
    """A fuzz target: srcs define LLVMFuzzerTestOneInput.

    In ordinary and sanitizer builds it is a test that replays the corpus; under --config=fuzz it is
    linked with libFuzzer and mutates the corpus for the seconds that `./mneme fuzz` passes.
    corpus: files or filegroups of seed inputs, e.g. glob(["testdata/corpus/**"]).
    dictionary: a libFuzzer dictionary file, or None. max_len: bytes of the largest input tried.
    """
    inputs = ["$(locations %s)" % label for label in corpus]
    fuzzing = "//third_party/fuzz:fuzzing"
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs + select({
            fuzzing: ["//third_party/fuzz:fuzz_arguments"],
            "//conditions:default": ["//third_party/fuzz:replay_main"],
        }),
        # GCC's warnings are the ones kept at zero; clang's others must not stop a fuzz build.
        copts = WARNINGS + select({fuzzing: ["-Wno-error"], "//conditions:default": []}),
        linkstatic = True,
        linkopts = select({fuzzing: ["-fsanitize=fuzzer"], "//conditions:default": []}),
        args = inputs + select({
            fuzzing: ["-max_len=%d" % max_len, "-timeout=10", "-rss_limit_mb=4096"] +
                     (["-dict=$(location %s)" % dictionary] if dictionary else []),
            "//conditions:default": [],
        }),
        data = corpus + ([dictionary] if dictionary else []),
        tags = kwargs.pop("tags", []) + ["fuzz"],
        deps = deps,
        **kwargs
    )

def mneme_py_test(name, srcs, data = [], size = "small", **kwargs):
    """A Python test (unittest, python3 of the system); the first of srcs is the program.

    Modules are imported from the workspace root: `from tests.tidy import rules`. Bazel's own py_test
    wants a `python`, which Debian does not have.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//third_party:py_test.sh"],
        args = ["$(location %s)" % srcs[0]],
        data = srcs + data,
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
        linkstatic = True,
        hdrs = [o for o in outs if o.endswith(".h")],
        deps = deps + ["@system//:grpc" if grpc else "@system//:protobuf"],
        **kwargs
    )
