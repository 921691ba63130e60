"""The report says the same thing in words, in JSON and in the exit code."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from avsync.errors import MediaError
from avsync.plots import plot_names, save_plot
from avsync.records import Fault, Offset, Report, Segment, TrackReport, Unjudged, Verdict
from avsync.report import (
    EXIT_CODES,
    certainty_words,
    defects,
    exit_code,
    from_dict,
    offset_words,
    percent,
    printable,
    summary,
    timecode,
    to_dict,
    to_json,
    to_line,
)
from avsync.terminal import to_text, worst_files

SHIFTS = np.arange(-15, 16)
FAULT = Fault(20, 40, -200.0, 5.0, 0.9, "severe")


def an_offset(offset_ms: float | None = 120.0, probability: float = 0.97) -> Offset:
    peak = -(offset_ms or 0.0) / 40
    curve = np.exp(-((SHIFTS - peak) ** 2)).astype(np.float32)
    return Offset(offset_ms, 9.0, probability, 8.5, False, SHIFTS, curve)


def a_report(
    verdict: Verdict = "out-of-sync", offset_ms: float | None = 120.0, path: str = "clip.mp4"
) -> Report:
    return Report(
        path,
        verdict,
        offset_ms,
        9.0,
        0.97,
        tracks=(
            TrackReport(0, 0.0, 4.0, 96, an_offset(-33.0, 0.2)),
            TrackReport(1, 0.0, 61.0, 1490, an_offset(offset_ms), speaking=True),
        ),
        segments=(Segment(0.0, 30.0, offset_ms, 12.0, 0.95), Segment(30.0, 61.0, None, None, 0.0)),
        duration_s=61.0,
        judged_s=30.0,
        model="avsync-1",
        timings_s={"total": 3.21},
    )


def text(*reports: Report, width: int = 100, terminal: bool = False, batch: bool = False) -> str:
    console = Console(width=width, force_terminal=terminal, no_color=True, file=io.StringIO())
    return to_text(reports, console, batch=batch)


# --- words --------------------------------------------------------------------------------


def test_a_positive_offset_means_early_audio_and_names_the_repair():
    assert summary(a_report(offset_ms=120.0)) == "audio is 120 ms early; delaying it by 120 ms fixes it"
    assert summary(a_report(offset_ms=-80.4)) == "audio is 80 ms late; advancing it by 80 ms fixes it"


def test_in_sync_says_how_far_off_it_is():
    assert summary(a_report("in-sync", 8.0)) == "audio is 8 ms early, within tolerance"
    assert summary(a_report("in-sync", 0.2)) == "audio and lips agree"


def test_a_fault_in_a_part_is_not_described_as_one_offset():
    report = replace(a_report(offset_ms=5.0), reasons=("from 0:20 to 0:40 it is 200 ms late",))
    assert "delaying" not in summary(report)
    assert "from 0:20 to 0:40" in summary(report)


def test_cannot_tell_gives_its_reasons():
    report = replace(a_report("cannot-tell", None), reasons=("no face was found", "the audio is silent"))
    assert summary(report) == "no face was found; the audio is silent"


@given(st.floats(-1e6, 1e6))
def test_words_and_sign_of_an_offset_agree(offset_ms: float):
    words = offset_words(offset_ms)
    assert (
        words == "0 ms"
        if round(abs(offset_ms)) == 0
        else words.endswith("early" if offset_ms > 0 else "late")
    )


@given(st.floats(0, 1))
def test_percent_says_100_only_of_certainty(probability: float):
    assert (percent(probability) == "100 %") == (probability == 1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0:00.0"),
        (59.96, "1:00.0"),
        (61.24, "1:01.2"),
        (3600.0, "1:00:00"),
        (-0.5, "-0:00.5"),
        (-0.01, "0:00.0"),
    ],
)
def test_timecodes(seconds: float, words: str):
    assert timecode(seconds) == words


def test_a_file_name_cannot_send_escape_codes_or_break_the_encoding():
    assert printable("a\x1b[31m\n\udcffb") == "a\\x1b[31m\\n\\udcffb"
    assert "\x1b" not in text(a_report(path="evil\x1b]0;x\x07.mp4"))


# --- terminal -----------------------------------------------------------------------------


def test_the_words_for_a_probability_go_by_the_figure_that_is_shown():
    assert certainty_words(0.9499) == "almost certain, 95 %"
    assert certainty_words(0.944) == "likely, 94 %"


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


def test_the_three_defects_are_told_apart():
    assert defects(a_report(offset_ms=120.0)) == ("offset",)
    drifting = replace(a_report(offset_ms=0.0), drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=4.0)
    assert defects(drifting) == ("drift",)
    assert defects(replace(drifting, offset_ms=120.0, faults=(FAULT,))) == ("offset", "drift", "local")
    assert defects(replace(a_report("in-sync", 0.0), faults=(replace(FAULT, severity="slight"),))) == ()


def test_a_drift_is_printed_with_its_direction_and_uncertainty():
    drifting = replace(a_report(offset_ms=0.0), drift_ms_per_min=-60.0, drift_uncertainty_ms_per_min=4.0)
    assert "  drift: growing late by 60 ms a minute (+/- 4 ms)\n" in text(drifting)
    assert "  drift: none seen (+/- 4 ms)\n" in text(replace(drifting, drift_ms_per_min=0.0))
    assert "  drift:" not in text(a_report())
    assert "at most a drift of 20 ms a minute" in text(a_report())


def test_a_drift_or_a_fault_is_not_said_to_be_fixed_by_a_shift():
    for defect in (
        replace(a_report(), drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=4.0),
        replace(a_report(), faults=(FAULT,)),
        replace(a_report(), faults=(replace(FAULT, offset_ms=0.0, severity="slight"),)),
    ):
        assert "fixes it" not in text(defect)


def test_local_faults_are_listed_with_their_severity():
    printed = text(replace(a_report(offset_ms=0.0), faults=(FAULT,)))
    lines = [line.rstrip() for line in printed.splitlines()]
    assert "different from the rest here:" in lines
    (row,) = [line.split() for line in lines if line.startswith("0:20.0-0:40.0")]
    assert row == ["0:20.0-0:40.0", "200", "ms", "late", "90", "%", "severe"]


def test_a_reason_that_the_summary_gives_is_no_note_too():
    nothing = Report("a.mp4", "cannot-tell", reasons=("No face was found.", "The audio is clipped."))
    assert text(nothing).count("No face was found") == 1
    clipped = replace(a_report(), reasons=("the audio is clipped",))
    assert "note: the audio is clipped" in text(clipped)


def test_stretches_without_an_answer_are_listed_with_the_reason():
    gaps = (Unjudged(20, 30, "no face is seen"), Unjudged(40, 40.5, "no face is seen"))
    lines = [line.rstrip() for line in text(replace(a_report("in-sync", 0.0), unjudged=gaps)).splitlines()]
    assert "0:20.0-0:30.0   no face is seen" in lines
    assert not any("0:40.0" in line for line in lines)


def test_the_share_of_speech_that_was_judged_is_printed():
    report = replace(a_report(), speech_s=20.0, speech_judged_s=15.0)
    assert "  speech: 20 s are heard, of which 75 % were judged\n" in text(report)
    assert "  speech: none is heard\n" in text(replace(report, speech_s=0.1, speech_judged_s=0.0))
    assert "speech:" not in text(a_report())
    assert to_dict(report)["speech_s"] == 20.0
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


def test_brackets_in_names_are_not_markup():
    assert text(a_report(path="[bold]x[/bold].mp4")).startswith("[bold]x[/bold].mp4: ")


# --- JSON ---------------------------------------------------------------------------------


def test_the_document_has_the_promised_fields():
    document = json.loads(to_json([a_report()], many=False))
    assert document["schema"] == 1
    assert document["path"] == "clip.mp4"
    assert document["verdict"] == "out-of-sync"
    assert document["offset_ms"] == 120.0
    assert document["uncertainty_ms"] == 9.0
    assert document["probability"] == 0.97
    assert document["standard"] == "ebu"
    assert (document["tolerance_early_ms"], document["tolerance_late_ms"]) == (40.0, 60.0)
    assert [track["speaking"] for track in document["tracks"]] == [False, True]
    assert document["segments"][1] == {
        "start_s": 30.0,
        "end_s": 61.0,
        "offset_ms": None,
        "uncertainty_ms": None,
        "probability": 0.0,
        "fault": False,
        "hint_ms": None,
        "against": False,
    }
    assert (document["defects"], document["faults"]) == (["offset"], [])
    assert document["max_drift_ms_per_min"] == 20.0


def test_several_files_are_a_list_even_when_one_was_found():
    assert isinstance(json.loads(to_json([a_report()], many=True)), list)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
@settings(deadline=None)
def test_json_never_holds_nan(offset_ms: float, probability: float):
    report = replace(
        a_report(),
        offset_ms=offset_ms,
        probability=probability,
        tracks=(TrackReport(0, 0.0, 1.0, 2, replace(an_offset(), evidence=probability)),),
    )
    document = json.loads(to_line(report), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert document["offset_ms"] is None or math.isfinite(document["offset_ms"])


def test_an_undecodable_path_survives_json():
    assert json.loads(to_line(a_report(path="a\udcff.mp4")))["path"] == "a\udcff.mp4"


def test_a_report_comes_back_from_its_document():
    whole = replace(a_report(), faults=(FAULT,), drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=4.0)
    document = to_dict(whole)
    assert to_dict(from_dict(json.loads(json.dumps(document)))) == document
    assert from_dict(document).faults == (FAULT,)
    bare = to_dict(Report("x.mp4", "error", reasons=("x.mp4 is no video.",)))
    assert to_dict(from_dict(bare)) == bare


# --- exit codes ---------------------------------------------------------------------------


def test_exit_codes_are_those_of_the_design():
    assert EXIT_CODES == {"in-sync": 0, "out-of-sync": 1, "mismatch": 1, "cannot-tell": 3, "error": 4}


@given(st.lists(st.sampled_from(list(EXIT_CODES)), min_size=1))
def test_a_batch_returns_the_worst_of_its_codes(verdicts: list[Verdict]):
    assert exit_code([Report("x", verdict) for verdict in verdicts]) == max(EXIT_CODES[v] for v in verdicts)


# --- plots --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        a_report(path="cost $5 [x].mp4"),
        a_report("in-sync", 3.0),
        Report("nobody.mp4", "cannot-tell", reasons=("no face was found",)),
        replace(a_report(), tracks=(), segments=()),
    ],
)
def test_every_report_can_be_drawn(report: Report, tmp_path: Path):
    target = save_plot(report, tmp_path / "new" / "plot.png")
    assert target.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in target.parent.iterdir()] == ["plot.png"]


def test_a_plot_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    with pytest.raises(MediaError, match="Cannot write the plot"):
        save_plot(a_report(), tmp_path / "taken" / "plot.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_plots_of_equally_named_videos_do_not_overwrite_each_other():
    names = plot_names([Path("a/x.mp4"), Path("b/x.mp4"), Path("X.mp4")], Path("out"))
    assert len({name.name.lower() for name in names}) == 3


def test_the_document_of_a_failed_file_says_why():
    document = to_dict(Report("x.mp4", "error", reasons=("x.mp4 is no video.",)))
    assert document["verdict"] == "error"
    assert document["reasons"] == ["x.mp4 is no video."]
    assert document["offset_ms"] is None


def test_the_reference_of_the_json_documents_names_every_field():
    report = replace(
        a_report(),
        faults=(Fault(3.0, 9.0, 200.0, 12.0, 0.9, "severe"),),
        unjudged=(Unjudged(30.0, 61.0, "no face"),),
    )
    document = to_dict(report)
    names = set(document)
    for rows in (document["tracks"], document["segments"], document["faults"], document["unjudged"]):
        names |= set(rows[0])
    reference = (Path(__file__).parents[1] / "docs/json.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in reference} == set()
