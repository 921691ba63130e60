"""What a person reads: the verdict first, every file at any width, and no flood."""

import io
import re
from dataclasses import replace

import pytest
from report_factory import FAULT, a_report, an_offset, said
from rich.console import Console

from avsync.core.document import from_dict
from avsync.core.report import Report, Segment, TrackReport, Unjudged
from avsync.report.document import to_dict
from avsync.report.terminal import to_text, worst_files


def text(*reports: Report, width: int = 100, terminal: bool = False, batch: bool = False) -> str:
    console = Console(width=width, force_terminal=terminal, no_color=True, file=io.StringIO())
    return to_text(reports, console, batch=batch)


def test_one_file_prints_its_verdict_on_the_first_line():
    lines = text(a_report()).splitlines()
    assert lines[0] == "clip.mp4: OUT OF SYNC - audio is 120 ms early; delaying it by 120 ms fixes it"
    assert "+/- 9 ms" in lines[1]
    assert "almost certain, 97 %" in lines[1]
    assert "EBU R37, audio at most 40 ms early or 60 ms late" in lines[2]


def test_the_speaking_face_comes_first_and_is_marked():
    lines = text(a_report()).splitlines()
    speaking = next(i for i, line in enumerate(lines) if line.startswith("1 speaks"))
    other = next(i for i, line in enumerate(lines) if line.startswith("0 "))
    assert speaking < other
    assert "120 ms early" in lines[speaking]


def test_hundreds_of_faces_do_not_flood_the_terminal():
    tracks = tuple(TrackReport(i, 0.0, 1.0, 20, an_offset()) for i in range(300))
    printed = text(replace(a_report(), tracks=tracks))
    assert "and 288 more faces" in printed
    assert len(printed.splitlines()) < 30


def test_a_drift_is_printed_with_its_direction_and_uncertainty():
    drifting = replace(a_report(offset_ms=0.0), drift_ms_per_min=-60.0, drift_uncertainty_ms_per_min=4.0)
    assert "  drift: growing late by 60 ms a minute (+/- 4 ms)\n" in text(drifting)
    steady = replace(drifting, drift_ms_per_min=0.0, drift_possible_ms_per_min=90.0)
    assert "  drift: none found; less than 90 ms a minute could go unnoticed\n" in text(steady)
    assert "less than 90 ms" in text(replace(steady, drift_ms_per_min=None))
    assert "less than 15 ms over the whole video could go unnoticed\n" in text(
        replace(steady, duration_s=10.0)
    )
    assert "  drift:" not in text(a_report())
    assert "at most a drift of 20 ms a minute" in text(a_report())


def test_no_shift_is_offered_for_a_drift_or_a_fault():
    for defect in (
        replace(a_report(), drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=4.0),
        replace(a_report(), faults=(FAULT,)),
        replace(a_report(), faults=(replace(FAULT, offset_ms=0.0, severity="slight"),)),
    ):
        assert "fixes it" not in text(defect)


def test_local_faults_are_listed_with_their_severity():
    printed = text(replace(a_report(offset_ms=0.0), faults=(FAULT,)))
    lines = [line.rstrip() for line in printed.splitlines()]
    assert "faults:" in lines
    (row,) = [line.split() for line in lines if line.startswith("0:20.0-0:40.0")]
    assert row == ["0:20.0-0:40.0", "200", "ms", "late", "90", "%", "severe"]


def test_a_reason_in_the_summary_is_not_repeated_as_a_note():
    nothing = Report("a.mp4", "cannot-tell", reasons=said("No face was found.", "The audio is clipped."))
    assert text(nothing).count("No face was found") == 1
    clipped = replace(a_report(), reasons=said("the audio is clipped"))
    assert "note: the audio is clipped" in text(clipped)


def test_stretches_without_an_answer_are_listed_with_the_reason():
    gaps = (Unjudged(20, 30, "no-face"), Unjudged(40, 40.5, "no-face"))
    lines = [line.rstrip() for line in text(replace(a_report("in-sync", 0.0), unjudged=gaps)).splitlines()]
    assert "0:20.0-0:30.0   no face is seen" in lines
    assert not any("0:40.0" in line for line in lines)


def test_the_share_of_speech_that_was_judged_is_printed():
    report = replace(a_report(), speech_s=30.0, speech_seen_s=20.0, speech_judged_s=15.0)
    assert "  speech: 30 s, 20 s of it with a visible speaker (75 % judged); 10 s without\n" in text(report)
    everything = replace(report, speech_seen_s=30.0, speech_judged_s=30.0)
    assert "  speech: 30 s, all of it with a visible speaker (all judged)\n" in text(everything)
    assert "30 s, none of it with a visible speaker" in text(replace(report, speech_seen_s=0.0))
    assert "  speech: none heard\n" in text(replace(report, speech_s=0.1))
    assert "speech:" not in text(a_report())
    assert to_dict(report)["speech_s"] == 30.0
    assert from_dict(to_dict(report)).speech_judged_s == 15.0


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_any_width_prints_every_file(width: int):
    reports = [a_report(path="one.mp4"), a_report("error", None, path="two.mp4")]
    for terminal in (False, True):
        printed = text(*reports, width=width, terminal=terminal, batch=True).replace("\n", "")
        assert "one.mp4" in printed
        assert "two.mp4" in printed


def test_in_a_pipe_a_batch_is_one_whole_line_per_file_and_a_summary():
    long = "a/" * 60 + "clip.mp4"
    lines = text(a_report(path=long), a_report("in-sync", 3.0), width=40, batch=True).splitlines()
    assert lines[0].startswith(f"{long}: OUT OF SYNC - ")
    assert lines[2] == "2 files: 1 in sync, 1 out of sync."


def a_library(count: int) -> list[Report]:
    """Every third file late, each by one ms more than the one before."""
    return [
        a_report("out-of-sync", -100.0 - n, f"late{n}.mp4")
        if n % 3 == 0
        else Report(f"{n}.mp4", "in-sync", 1.0)
        for n in range(count)
    ]


def test_a_library_ends_in_counts_and_the_worst_files():
    lines = text(*a_library(60), batch=True).splitlines()
    assert lines[0].startswith("late0.mp4: OUT OF SYNC")
    overview = "\n".join(lines[60:])
    assert re.search(r"OUT OF SYNC +20 +33\.3%", overview)
    assert re.search(r"in sync +40 +66\.7%", overview)
    assert re.findall(r"late\d+(?=\.mp4)", overview)[:2] == ["late57", "late54"]
    assert "60 files: 40 in sync, 20 out of sync." in overview


def test_a_large_library_on_a_terminal_shows_what_needs_a_look():
    shown = text(*a_library(60), batch=True, terminal=True)
    assert "late3.mp4" in shown
    assert "\n4.mp4" not in shown
    assert "\n4.mp4" in text(*a_library(12), batch=True, terminal=True)


def test_the_worst_file_may_be_one_with_a_bad_part():
    part = replace(a_report("out-of-sync", 5.0, "part.mp4"), segments=(Segment(0.0, 9.0, 500.0, 9.0, 0.9),))
    assert [r.path for r in worst_files([a_report(), Report("x", "in-sync", 1.0), part])] == [
        "part.mp4",
        "clip.mp4",
    ]


def test_the_table_of_the_worst_says_the_error_that_makes_them_so():
    part = replace(
        a_report("out-of-sync", 5.0, "part.mp4"), segments=(Segment(70.0, 90.0, -500.0, 9.0, 0.9),)
    )
    overview = text(part, *a_library(60), batch=True).split("worst")[1]
    assert re.search(r"part\.mp4 +500 ms late from 1:10\.0 +90 %", overview)
    assert re.search(r"late57\.mp4 +157 ms late +\d+ %", overview)


def test_a_file_name_cannot_send_escape_codes():
    assert "\x1b" not in text(a_report(path="evil\x1b]0;x\x07.mp4"))


def test_brackets_in_names_are_not_markup():
    assert text(a_report(path="[bold]x[/bold].mp4")).startswith("[bold]x[/bold].mp4: ")
