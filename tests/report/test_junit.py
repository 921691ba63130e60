"""JUnit XML as CI systems read it."""

from xml.etree import ElementTree

import junitparser
import pytest
from report_factory import said

from avsync.core.report import Report, Verdict
from avsync.report.junit import JUNIT, to_junit

REPORTS = [
    Report("lib/sync.mp4", "in-sync", 4.0, 8.0, 0.98, timings_s={"total": 1.5}),
    Report("lib/late.mp4", "out-of-sync", -120.0, 8.0, 0.97, reasons=said("mind the gap")),
    Report("lib/dub.mp4", "mismatch"),
    Report("lib/noface.mp4", "cannot-tell", reasons=said("no face was found")),
    Report("bad.mp4", "error", reasons=said("bad.mp4 is no video.")),
]


def suites(reports: list[Report]) -> list[junitparser.TestSuite]:
    return list(junitparser.JUnitXml.fromstring(to_junit(reports)))


def cases(reports: list[Report]) -> list[junitparser.TestCase]:
    return [case for suite in suites(reports) for case in suite]


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        ("in-sync", None),
        ("out-of-sync", junitparser.Failure),
        ("mismatch", junitparser.Failure),
        ("cannot-tell", junitparser.Skipped),
        ("error", junitparser.Error),
    ],
)
def test_each_verdict_has_its_outcome(verdict: Verdict, result: type | None):
    (case,) = cases([report for report in REPORTS if report.verdict == verdict])
    assert [type(found) for found in case.result] == ([result] if result else [])


def test_the_counts_agree_with_the_cases():
    (suite,) = suites(REPORTS)
    counted = (suite.tests, suite.failures, suite.errors, suite.skipped, suite.time)
    suite.update_statistics()
    assert counted == (5, 2, 1, 1, 1.5)
    assert counted == (suite.tests, suite.failures, suite.errors, suite.skipped, suite.time)


def test_a_case_is_named_after_its_file_and_says_what_is_wrong():
    late, bad = cases(REPORTS)[1], cases(REPORTS)[4]
    assert (late.classname, late.name) == ("lib", "late.mp4")
    assert late.result[0].message == "audio is 120 ms late; advancing it by 120 ms fixes it"
    assert late.result[0].type == "out-of-sync"
    assert late.result[0].text == "mind the gap"
    assert bad.result[0].message == "bad.mp4 is no video"


def test_a_hostile_name_stays_text():
    name = "<x y=\"&'>\x00\x1b[31m\udcff\ufffe.mp4"
    root = ElementTree.fromstring(to_junit([Report(name, "error", reasons=said(f"{name} is no video."))]))  # noqa: S314
    (case,) = root.iter("testcase")
    assert case.get("name", "").startswith("<x y=\"&'>\\x00")
    assert [child.tag for child in case] == ["error"]


def test_nothing_done_is_still_a_document():
    assert cases([]) == []


def test_an_older_result_is_known_and_other_xml_is_not():
    assert JUNIT.is_own(to_junit([]))
    assert not JUNIT.is_own(b'<?xml version="1.0"?>\n<testsuites name="my tests"/>')
