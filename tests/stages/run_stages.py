"""Everything `./mneme test` proves, stage by stage. Run from the root of the repository.

Every stage runs whatever the others found. The last line of the output is `N passed, N failed`; the
exit status is 0 only when nothing failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, List, NamedTuple

from tests.stages import bazel_results
from tests.stages.bazel_results import Results

# What a stage leaves out, docs/development.md says why.
SANITIZED = ["--config=asan", "--config=ubsan", "--build_tests_only"]
SANITIZED += ["--test_tag_filters=-no_sanitizer"]


LOG_LINES = 200  # of a failing target's log, from the end


class Stage(NamedTuple):
    name: str
    heading: str
    run: Callable[[argparse.Namespace], Results]


def bazel(verb: str, arguments: List[str]) -> Results:
    """Runs Bazel on the whole tree and counts. A failure that no target explains counts as one."""
    command = ["bazel", verb, "--keep_going", "--ui_event_filters=-info", "--show_result=0"]
    if not sys.stderr.isatty():
        command += ["--curses=no", "--noshow_loading_progress", "--show_progress_rate_limit=60"]
    if verb == "test":
        command += ["--test_summary=none"]
    with tempfile.TemporaryDirectory(prefix="mneme_test_") as folder:
        events = os.path.join(folder, "events.json")
        command += ["--build_event_json_file=" + events] + arguments + ["//..."]
        status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
        results = bazel_results.from_event_file(events)
    no_tests_found = 4
    if status not in (0, no_tests_found) and not results.failed:
        failure = Results(0, 1, 0, ["bazel %s: exit status %d" % (verb, status)])
        return bazel_results.total([results, failure])
    return results


def tests(arguments: List[str]) -> Results:
    results = bazel("test", arguments)
    if results.passed + results.failed == 0:
        return Results(0, 1, 0, ["no test was found"])
    return results


def fuzz(options: argparse.Namespace) -> Results:
    # A fuzz run that is repeated starts from another seed, so a cached result says nothing.
    seconds = "--test_arg=-max_total_time=%d" % options.fuzz_seconds
    limit = "--test_timeout=%d" % (options.fuzz_seconds + 120)
    return tests(["--config=fuzz", "--nocache_test_results", limit, seconds])


def lint(_: argparse.Namespace) -> Results:
    results = bazel("build", ["--config=lint"])
    return Results(0, 1, 0, results.failures) if results.failed else Results(1, 0, 0, [])


def format_check(_: argparse.Namespace) -> Results:
    """One test: every C++ source is as clang-format leaves it."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]
        + ["--exclude-standard", "*.h", "*.inl", "*.cc", "*.cu", "*.cuh"],
        check=True,
        stdout=subprocess.PIPE,
    )
    sources = [s for s in listed.stdout.decode().split("\0") if s and os.path.exists(s)]
    checked = subprocess.run(
        ["clang-format", "--dry-run", "-Werror", "--ferror-limit=1"] + sources,
        stderr=subprocess.PIPE,
    )
    if not sources or checked.returncode:
        lines = checked.stderr.decode(errors="replace").splitlines()
        unformatted = [line.split(":")[0] for line in lines if ": error:" in line]
        return Results(0, 1, 0, ["clang-format: " + name for name in unformatted or lines])
    return Results(1, 0, 0, [])


STAGES = [
    Stage("format", "clang-format", format_check),
    Stage("ordinary", "all tests", lambda _: tests([])),
    Stage("sanitized", "all tests under asan and ubsan", lambda _: tests(SANITIZED)),
    Stage("tsan", "schedule and runtime under tsan", lambda _: tests(["--config=tsan"])),
    Stage("fuzz", "fuzz targets (libFuzzer, asan)", fuzz),
    Stage("lint", "clang-tidy", lint),
]


def parse(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./mneme test", description=__doc__.splitlines()[0])
    names = [stage.name for stage in STAGES]
    parser.add_argument("--only", action="append", choices=names, help="run this stage (repeatable)")
    parser.add_argument("--fuzz-seconds", type=int, default=15, help="for each fuzz target")
    return parser.parse_args(arguments)


def print_log(path: str) -> None:
    with open(path, encoding="utf-8", errors="replace") as stream:
        lines = stream.read().splitlines()
    print("   --- %s%s" % (path, " (its end)" if len(lines) > LOG_LINES else ""))
    print("\n".join(lines[-LOG_LINES:]))


def run(stages: List[Stage], options: argparse.Namespace) -> Results:
    all_results: Dict[str, Results] = {}
    for number, stage in enumerate(stages, 1):
        print("== %d/%d %s" % (number, len(stages), stage.heading), flush=True)
        start = time.monotonic()
        try:
            results = stage.run(options)
        except (OSError, subprocess.SubprocessError) as error:
            results = Results(0, 1, 0, ["%s: %s" % (stage.name, error)])
        all_results[stage.name] = results
        for log in results.logs:
            print_log(log)
        for failure in results.failures:
            print("   FAILED %s" % failure)
        skipped = ", %d skipped" % results.skipped if results.skipped else ""
        seconds = time.monotonic() - start
        counts = (results.passed, results.failed, skipped, seconds)
        print("   %d passed, %d failed%s (%.0f s)" % counts, flush=True)
    if len(stages) > 1:
        print("==")
        for name, results in all_results.items():
            for failure in results.failures:
                print("FAILED in %s: %s" % (name, failure))
    return bazel_results.total(all_results.values())


def main() -> int:
    options = parse(sys.argv[1:])
    stages = [s for s in STAGES if not options.only or s.name in options.only]
    results = run(stages, options)
    print("%d passed, %d failed" % (results.passed, results.failed), flush=True)
    return 1 if results.failed or not results.passed else 0


if __name__ == "__main__":
    sys.exit(main())
