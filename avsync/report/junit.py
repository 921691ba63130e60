"""Reports as JUnit XML, which CI systems show as a list of passed and failed tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from avsync.core.files import Kind
from avsync.core.report import Report, Verdict
from avsync.core.text import printable
from avsync.report.reasons import reason_words
from avsync.report.summary import summary

JUNIT = Kind("JUnit file", lambda head: b'<testsuites name="avsync"' in head)

OUTCOMES: dict[Verdict, str] = {
    "out-of-sync": "failure",
    "mismatch": "failure",
    "partly-judged": "skipped",
    "cannot-tell": "skipped",
    "error": "error",
}
"""JUnit's word for each verdict; the others are passed tests."""


def to_junit(reports: Sequence[Report]) -> bytes:
    """One suite with a test case per file: a failure for out of sync, skipped for cannot tell."""
    seconds = f"{sum(_seconds(report) for report in reports):.3f}"
    outcomes = [OUTCOMES.get(report.verdict) for report in reports]
    counts = {
        "name": "avsync",
        "tests": str(len(reports)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "time": seconds,
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {**counts, "skipped": str(outcomes.count("skipped"))})
    for report in reports:
        _case(suite, report)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(suite: ElementTree.Element, report: Report) -> None:
    path = Path(printable(report.path))
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": str(path.parent), "name": path.name, "time": f"{_seconds(report):.3f}"},
    )
    said = printable(summary(report))
    outcome = OUTCOMES.get(report.verdict)
    if outcome is None:
        ElementTree.SubElement(case, "system-out").text = said
        return
    kind = {} if outcome == "skipped" else {"type": report.verdict}
    result = ElementTree.SubElement(case, outcome, {**kind, "message": said})
    result.text = "\n".join(printable(reason_words(reason)) for reason in report.reasons) or said


def _seconds(report: Report) -> float:
    return report.timings_s.get("total", 0.0)
