"""The runner of `./mneme test` counts what happened, above all when something went wrong."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from typing import List

from tests.stages import bazel_results, run_stages
from tests.stages.bazel_results import Results, count_target, from_events

GTEST = """<?xml version="1.0"?><testsuites tests="4" failures="1"><testsuite name="A">
<testcase name="Good" status="run" result="completed" classname="A"/>
<testcase name="Off" status="notrun" result="suppressed" classname="A"/>
<testcase name="Skipped" status="run" result="skipped" classname="A"><skipped/></testcase>
%s</testsuite></testsuites>"""
BAD = """<testcase name="Bad" status="run" result="completed" classname="A">
<failure message="x"/></testcase>"""
STAND_IN = '<testsuites><testsuite name="x"><testcase name="x" status="run"></testcase></testsuite></testsuites>'


def event(kind: str, label: str, **payload: object) -> str:
    return json.dumps({"id": {kind: {"label": label}}, **payload})


class CountTest(unittest.TestCase):
    def test_cases_of_a_passing_target(self):
        self.assertEqual(count_target("//a:b", True, GTEST % ""), Results(1, 0, 1, []))

    def test_cases_of_a_failing_target(self):
        self.assertEqual(count_target("//a:b", False, GTEST % BAD), Results(1, 1, 1, ["//a:b A.Bad"]))

    def test_a_target_that_died_after_its_cases_is_a_failure(self):
        self.assertEqual(count_target("//a:b", False, GTEST % ""), Results(0, 1, 1, ["//a:b"]))

    def test_a_target_without_a_report(self):
        for xml in ("", "<testsuites", STAND_IN):
            self.assertEqual(count_target("//a:b", True, xml), Results(1, 0, 0, []))
            self.assertEqual(count_target("//a:b", False, xml), Results(0, 1, 0, ["//a:b"]))

    def test_a_reported_failure_outweighs_the_exit_status(self):
        self.assertEqual(count_target("//a:b", True, GTEST % BAD).failed, 1)


class EventsTest(unittest.TestCase):
    def test_a_target_that_cannot_be_built_is_a_failure(self):
        lines = [event("targetCompleted", "//a:b", completed={}), "{ interrupted"]
        self.assertEqual(from_events(lines), Results(0, 1, 0, ["//a:b (not built)"]))

    def test_a_target_that_cannot_be_analysed_is_a_failure(self):
        lines = [event("targetConfigured", "//a:b", aborted={"reason": "ANALYSIS_FAILURE"})]
        self.assertEqual(from_events(lines), Results(0, 1, 0, ["//a:b (not built)"]))

    def test_cases_are_read_from_the_report(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "test 1.xml")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(GTEST % BAD)
            output = [
                {"name": "test.xml", "uri": "file://" + path.replace(" ", "%20")},
                {"name": "test.log", "uri": "file:///a/test.log"},
            ]
            lines = [
                event("targetCompleted", "//a:b", completed={"success": True}),
                event("testResult", "//a:b", testResult={"status": "FAILED", "testActionOutput": output}),
                event("testResult", "//a:c", testResult={"status": "TIMEOUT"}),
            ]
            expected = Results(1, 2, 1, ["//a:b A.Bad", "//a:c"], ("/a/test.log",))
            self.assertEqual(from_events(lines), expected)

    def test_no_event_file_counts_nothing(self):
        self.assertEqual(bazel_results.from_event_file("/nonexistent"), Results(0, 0, 0, []))


class RunTest(unittest.TestCase):
    def test_the_log_of_a_failing_target_is_shown_from_its_end(self):
        printed = io.StringIO()
        with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
            log.write("".join("line %d\n" % i for i in range(1000)))
            log.flush()
            with contextlib.redirect_stdout(printed):
                run_stages.print_log(log.name)
        self.assertIn("line 999\n", printed.getvalue())
        self.assertNotIn("line 0\n", printed.getvalue())

    def stages(self, results: List[Results]) -> List[run_stages.Stage]:
        return [run_stages.Stage(str(i), "h", lambda _, r=r: r) for i, r in enumerate(results)]

    def test_every_stage_runs_and_counts(self):
        options = run_stages.parse([])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            results = run_stages.run(
                self.stages([Results(2, 0, 0, []), Results(0, 1, 0, ["//a:b"]), Results(3, 0, 1, [])]),
                options,
            )
        self.assertEqual(results, Results(5, 1, 1, ["//a:b"]))
        self.assertIn("FAILED in 1: //a:b\n", printed.getvalue())

    def test_a_stage_that_cannot_run_is_a_failure(self):
        def missing(_):
            return subprocess.run(["a-program-that-is-not-here"], check=True)

        stages = [run_stages.Stage("a", "h", missing)] + self.stages([Results(1, 0, 0, [])])
        with contextlib.redirect_stdout(io.StringIO()):
            results = run_stages.run(stages, run_stages.parse([]))
        self.assertEqual((results.passed, results.failed), (1, 1))
        self.assertIn("a-program-that-is-not-here", results.failures[0])

    def test_a_stage_without_tests_is_a_failure(self):
        original = run_stages.bazel
        run_stages.bazel = lambda verb, arguments: Results(0, 0, 0, [])
        try:
            self.assertEqual(run_stages.tests([]).failed, 1)
        finally:
            run_stages.bazel = original


if __name__ == "__main__":
    unittest.main()
