"""Whatever a report is written as, it speaks of the same stretches, at the same times and offsets."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import opentimelineio as otio
import pytest
from media_factory import ffmpeg
from report_factory import FAULT, a_report, an_offset
from rich.console import Console
from talk_factory import Talk

import avsync
from avsync.core.report import Fault, Report, Segment, TrackReport, Unjudged
from avsync.core.timecode import Timebase, timebase
from avsync.core.tolerance import own_offset
from avsync.report.document import to_json, to_line
from avsync.report.geometry import mismatches, stretches
from avsync.report.html import render
from avsync.report.html_charts import HEIGHT, offset_chart
from avsync.report.junit import to_junit
from avsync.report.markers import WRITERS
from avsync.report.overlay import moment_words
from avsync.report.plot import plotted
from avsync.report.summary import summary
from avsync.report.table import to_csv
from avsync.report.terminal import to_text
from avsync.report.words import clock_time, offset_words

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
BASE = timebase(Fraction(30000, 1001), 0.0, "00:59:50;00")


def film(*parts: Segment, faults: tuple[Fault, ...] = (), gaps: tuple[Unjudged, ...] = (), **more) -> Report:
    """A minute with one face, of which `parts` were judged."""
    face = TrackReport(0, 0.0, 60.0, 1490, an_offset(5.0), True, 1.0, segments=parts)
    plain = replace(a_report("in-sync", 5.0, "film.mov"), tracks=(face,), segments=parts, unjudged=gaps)
    return replace(plain, faults=faults, duration_s=60.0, timebase=BASE, **more)


CALM = Segment(0.0, 20.0, 5.0, 12.0, 0.95, own_offset_ms=7.0)
JUMP = Segment(20.0, 40.0, -200.0, 5.0, 0.9, fault=True, own_offset_ms=-200.0)
LAST = Segment(40.0, 60.0, 5.0, 12.0, 0.95)
OTHERS = Fault(44.0, 50.0, None, None, 0.95, "severe", "mismatch")
REPORTS = {
    "local fault": film(CALM, JUMP, LAST, faults=(FAULT,), verdict="out-of-sync"),
    "drift": film(
        replace(CALM, own_offset_ms=-30.0),
        replace(LAST, own_offset_ms=40.0),
        gaps=(Unjudged(20.0, 40.0, "no-face"),),
        verdict="out-of-sync",
        drift_ms_per_min=105.0,
        drift_uncertainty_ms_per_min=9.0,
    ),
    "mismatch": film(
        CALM,
        replace(CALM, start_s=20.0, end_s=44.0),
        replace(LAST, start_s=50.0),
        faults=(OTHERS,),
        gaps=(Unjudged(44.0, 50.0, "not-speaking"),),
        verdict="out-of-sync",
    ),
    "partly judged": film(CALM, gaps=(Unjudged(20.0, 60.0, "too-little-evidence"),), verdict="partly-judged"),
}


@pytest.fixture(scope="module")
def checked(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a real file with a time code: three made faces, the second of which is 320 ms late."""
    folder = tmp_path_factory.mktemp("agreement")
    late = {1: -320.0}
    inputs = []
    for number, seed in enumerate((3, 8, 11)):
        inputs += ["-i", talk(late.get(number, 0.0), seed=seed, duration_s=8.0, size=320)]
    joined = ("-filter_complex", "concat=n=3:v=1:a=1", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18")
    ffmpeg(*inputs, *joined, "-pix_fmt", "yuv420p", "-timecode", "10:00:00:00", folder / "film.mov")
    return avsync.check(folder / "film.mov")


@pytest.fixture(params=[pytest.param("a real file", marks=pytest.mark.slow), *REPORTS])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue("checked") if request.param == "a real file" else REPORTS[request.param]


def base_of(report: Report) -> Timebase:
    assert report.timebase is not None
    return report.timebase


def judged(report: Report) -> list[Segment]:
    return [part for part in report.segments if part.offset_ms is not None]


def page_text(report: Report) -> str:
    body = re.sub(r"<style>.*?</style>", " ", render([report], NOON), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def terminal(report: Report) -> str:
    return to_text([report], Console(width=200, color_system=None), batch=False)


@pytest.mark.slow
def test_a_real_file_with_a_fault_has_stretches_of_its_faces(checked: Report):
    assert [fault.kind for fault in checked.faults] == ["offset"]
    own = [part for track in checked.tracks for part in track.segments]
    assert len(own) >= 3
    assert {round(own_offset(part), -2) for part in own} == {0.0, -300.0}, "each has an offset of its own"


def test_json_and_jsonl_are_one_document_with_every_stretch(report: Report):
    document = json.loads(to_json([report], many=False))
    assert json.loads(to_line(report)) == document
    for name, held in (
        ("segments", report.segments),
        ("faults", report.faults),
        ("unjudged", report.unjudged),
    ):
        assert [(s["start_s"], s["end_s"]) for s in document[name]] == [
            (round(s.start_s, 3), round(s.end_s, 3)) for s in held
        ]
    assert document["summary"] == summary(report)


def test_the_page_names_each_stretch_once_in_each_of_its_tables(report: Report):
    said = page_text(report)
    for part in judged(report):
        words = f"{clock_time(part.start_s)} to {clock_time(part.end_s)}"
        assert re.search(
            rf"{re.escape(words)} \S+ to \S+, frames \d+ to \d+ {offset_words(own_offset(part))}", said
        )
    for stretch in (*report.faults, *report.unjudged):
        assert f"{clock_time(stretch.start_s)} to {clock_time(stretch.end_s)}" in said
    assert summary(report)[1:] in said


def test_the_terminal_names_the_same_faults_and_gaps(report: Report):
    said = terminal(report)
    assert summary(report) in said
    for stretch in (*report.faults, *report.unjudged):
        assert f"{clock_time(stretch.start_s)}-{clock_time(stretch.end_s)}" in said


def test_the_chart_of_the_page_and_the_plot_draw_the_same(report: Report):
    drawn, axes = offset_chart(report), plotted(report).axes[1]
    (first_s, last_s), (low, high) = axes.get_xlim(), axes.get_ylim()
    drawn_lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    plotted_stretches = sorted((*map(float, xs), float(ys[0])) for xs, ys in drawn_lines if len(xs) == 2)
    on_page = sorted(
        (
            first_s + bar.left / 100 * (last_s - first_s),
            first_s + (bar.left + bar.width) / 100 * (last_s - first_s),
            high - bar.y / HEIGHT * (high - low),
        )
        for bar in drawn.bars
    )
    assert len(on_page) == len(plotted_stretches) == len(stretches(report)) > 0
    for here, there in zip(on_page, plotted_stretches, strict=True):
        assert here == pytest.approx(there, abs=1.5)
    assert len(drawn.gaps) == len(report.unjudged)
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert len(hatched) == len(report.unjudged) + len(mismatches(report))
    assert len(drawn.mismatches) == len(mismatches(report))


def test_markers_of_every_format_lie_at_the_frames_that_the_document_has(report: Report):
    document = json.loads(to_json([report], many=False))
    base = base_of(report)
    wanted = sorted(
        (part["start_frame"], part["end_frame"])
        for part in (
            *(s for s in document["segments"] if s["offset_ms"] is not None and not s["fault"]),
            *document["faults"],
            *(gap for gap in document["unjudged"] if gap["end_s"] - gap["start_s"] >= 1),
        )
    )
    text = {suffix: write(report, base) for suffix, write in WRITERS.items()}
    rows = [row for row in csv.DictReader(io.StringIO(text[".csv"])) if row["kind"] != "verdict"]
    assert sorted((int(row["start frame"]), int(row["end frame"])) for row in rows) == wanted

    (clip,) = otio.adapters.read_from_string(text[".otio"], "otio_json").find_clips()
    spans = [marker.marked_range for marker in clip.markers[1:]]
    first = [(span.start_time.value - base.start_frame, span.duration.value) for span in spans]
    assert sorted((start, start + length) for start, length in first) == wanted

    root = ElementTree.fromstring(text[".fcpxml"])  # noqa: S314 - our own
    frames = [
        tuple(Fraction(marker.attrib[name][:-1]) * base.rate for name in ("start", "duration"))
        for marker in root.iter("marker")
    ][1:]
    assert sorted((start - base.start_frame, start - base.start_frame + n) for start, n in frames) == wanted

    lengths = [int(length) for length in re.findall(r"\|D:(\d+)", text[".edl"])]
    assert sorted(lengths) == sorted(end - start for start, end in wanted)


def test_junit_the_page_and_the_table_say_the_same_sentence(report: Report):
    case = ElementTree.fromstring(to_junit([report])).find(".//testcase")  # noqa: S314 - our own
    assert case is not None
    told = [*(child.get("message") or "" for child in case), case.findtext("system-out") or ""]
    assert summary(report) in told
    (row,) = csv.DictReader(io.StringIO(to_csv([report]).decode("utf-8-sig")))
    assert (row["verdict"], row["summary"], row["faults"]) == (
        report.verdict,
        summary(report),
        str(len(report.faults)),
    )


def test_the_overlay_says_in_the_middle_of_a_stretch_what_the_table_says_of_it(report: Report):
    for part in judged(report):
        assert offset_words(own_offset(part)) in moment_words(report, (part.start_s + part.end_s) / 2)[0]
    for start_s, end_s in mismatches(report):
        assert "do not match the speech" in moment_words(report, (start_s + end_s) / 2)[0]


def test_every_result_file_is_named_after_its_video(report: Report):
    assert Path(report.path).name in page_text(report)
    assert Path(report.path).name in terminal(report)
