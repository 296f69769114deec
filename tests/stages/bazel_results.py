"""What a `bazel test` did, read from its build event file: counts of test cases and failures.

A target counts once per GoogleTest case that ran; a target of another kind, one that died before it
could report its cases, and one that could not be built count as one.
"""

import json
import os
import urllib.parse
import xml.etree.ElementTree as ElementTree
from typing import Dict, Iterable, List, NamedTuple, Tuple


class Results(NamedTuple):
    passed: int
    failed: int
    skipped: int
    failures: List[str]
    logs: Tuple[str, ...] = ()  # files: what failing targets printed


def _path(uri: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def _case_name(label: str, case: ElementTree.Element) -> str:
    suite = case.get("classname", "")
    return "%s %s.%s" % (label, suite, case.get("name", "")) if suite else label


def count_target(label: str, passed: bool, xml: str) -> Results:
    """Counts one run of a target from its test.xml (may be empty) and whether Bazel saw it pass."""
    cases = []
    if xml:
        try:
            # Bazel writes a stand-in with one case per target for programs that report none.
            cases = [c for c in ElementTree.fromstring(xml).iter("testcase")]
        except ElementTree.ParseError:
            cases = []
    ran = [c for c in cases if c.get("status", "run") == "run"]
    bad = [c for c in ran if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in ran if c.get("result") == "skipped" or c.find("skipped") is not None]
    good = len(ran) - len(bad) - len(skipped)
    if passed and not bad:
        return Results(good if cases else 1, 0, len(skipped), [])
    failures = [_case_name(label, c) for c in bad] or [label]
    return Results(good if bad else 0, len(failures), len(skipped), failures)


def total(results: Iterable[Results]) -> Results:
    everything = list(results)
    return Results(
        sum(r.passed for r in everything),
        sum(r.failed for r in everything),
        sum(r.skipped for r in everything),
        [name for r in everything for name in r.failures],
        tuple(log for r in everything for log in r.logs),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def from_events(lines: Iterable[str]) -> Results:
    """Counts every target named in a build event file (one JSON object per line)."""
    runs: Dict[Tuple[str, int, int], Results] = {}
    broken: Dict[str, bool] = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line of a build that was interrupted
        identity = event.get("id", {})
        if "testResult" in identity:
            label = identity["testResult"]["label"]
            run = event["testResult"]
            outputs = {o["name"]: _path(o.get("uri", "")) for o in run.get("testActionOutput", [])}
            xml = _read(outputs["test.xml"]) if "test.xml" in outputs else ""
            key = (label, identity["testResult"].get("run", 0), identity["testResult"].get("shard", 0))
            # Of several attempts of a flaky test the last one counts.
            counted = count_target(label, run.get("status") == "PASSED", xml)
            if counted.failed and "test.log" in outputs:
                counted = counted._replace(logs=(outputs["test.log"],))
            runs[key] = counted
        elif "targetCompleted" in identity:
            label = identity["targetCompleted"]["label"]
            broken[label] = not event.get("completed", {}).get("success", False)
        elif "targetConfigured" in identity and "aborted" in event:
            broken[identity["targetConfigured"]["label"]] = True
    ran = {label for label, _, _ in runs}
    unbuilt = sorted(label for label, bad in broken.items() if bad and label not in ran)
    not_built = [Results(0, 1, 0, [label + " (not built)"]) for label in unbuilt]
    return total(list(runs.values()) + not_built)


def from_event_file(path: str) -> Results:
    if not os.path.exists(path):
        return Results(0, 0, 0, [])
    with open(path, encoding="utf-8") as stream:
        return from_events(stream)
