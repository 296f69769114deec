"""clang-tidy over our libraries and binaries, with the flags that Bazel compiles them with.

    bazel build --config=lint //...

One action per source file, so a second run checks only what changed. Generated code, tests and
benchmarks are left out, and targets tagged `no_clang_tidy`.
"""

_KINDS = ["cc_library", "cc_binary"]

def _flags(ctx, context):
    flags = ["-std=c++20", "-Wno-everything"]
    flags += [f for f in ctx.rule.attr.copts if not f.startswith("-W")]
    flags += ["-D" + d for d in context.defines.to_list() + context.local_defines.to_list()]
    for option, folders in [
        ("-iquote", context.quote_includes),
        ("-I", context.includes),
        ("-isystem", context.system_includes),
    ]:
        for folder in folders.to_list():
            flags += [option, folder]
    return flags

def _check(ctx, source, flags, headers):
    report = ctx.actions.declare_file(source.short_path.replace("/", "_") + ".clang_tidy")
    ctx.actions.run_shell(
        inputs = depset([source, ctx.file._config], transitive = [headers]),
        outputs = [report],
        # The count of suppressed warnings goes to stderr and says nothing.
        command = 'clang-tidy --quiet --config-file="$1" "$2" -- "${@:4}" >"$3" 2>"$3.err" || ' +
                  '{ sed "s|$PWD/||" "$3"; grep -v "warnings generated" "$3.err"; exit 1; }',
        arguments = [ctx.file._config.path, source.path, report.path] + flags,
        mnemonic = "ClangTidy",
        progress_message = "clang-tidy " + source.short_path,
    )
    return report

def _clang_tidy_impl(target, ctx):
    rule = ctx.rule.attr
    if ctx.rule.kind not in _KINDS or target.label.workspace_name or CcInfo not in target:
        return []
    if "no_clang_tidy" in rule.tags or getattr(rule, "testonly", False):
        return []
    context = target[CcInfo].compilation_context
    flags = _flags(ctx, context)
    sources = [f for src in rule.srcs for f in src.files.to_list()]
    reports = [
        _check(ctx, f, flags, context.headers)
        for f in sources
        if f.is_source and f.extension == "cc" and not f.basename.endswith("_bench.cc")
    ]
    return [OutputGroupInfo(clang_tidy = depset(reports))]

clang_tidy_aspect = aspect(
    implementation = _clang_tidy_impl,
    attrs = {
        "_config": attr.label(default = "//:.clang-tidy", allow_single_file = True),
    },
)
