"""The report says the same thing in words, in JSON and in the exit code."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_factory import FAULT, a_report, an_offset, said

from avsync.core.document import from_dict
from avsync.core.report import (
    Fault,
    Reason,
    ReasonKind,
    Report,
    Segment,
    TrackReport,
    Turn,
    Unjudged,
    Verdict,
)
from avsync.core.timecode import timebase
from avsync.core.tolerance import defects, unmendable
from avsync.report.document import EXIT_CODES, exit_code, to_dict, to_json, to_line
from avsync.report.reasons import place_words
from avsync.report.summary import summary
from avsync.report.words import certainty_words, clock_time, offset_words, percent

# --- words --------------------------------------------------------------------------------


def test_a_positive_offset_means_early_audio_and_names_the_repair():
    assert summary(a_report(offset_ms=120.0)) == "audio is 120 ms early; delaying it by 120 ms fixes it"
    assert summary(a_report(offset_ms=-80.4)) == "audio is 80 ms late; advancing it by 80 ms fixes it"
    strict = replace(a_report(offset_ms=0.254), tolerance_ms=(0.1, 0.1))
    assert summary(strict) == "audio is 0.25 ms early; delaying it by 0.25 ms fixes it"


def test_in_sync_says_how_far_off_it_is():
    assert summary(a_report("in-sync", 8.0)) == "audio is 8 ms early, within tolerance"
    assert summary(a_report("in-sync", 0.2)) == "audio and lips agree"


def test_a_fault_in_a_part_is_not_described_as_one_offset():
    report = replace(a_report(offset_ms=5.0), reasons=said("from 0:20 to 0:40 it is 200 ms late"))
    assert "delaying" not in summary(report)
    assert "from 0:20 to 0:40" in summary(report)


def test_cannot_tell_gives_its_reasons():
    report = replace(a_report("cannot-tell", None), reasons=said("no face was found", "the audio is silent"))
    assert summary(report) == "no face was found; the audio is silent"


@pytest.mark.parametrize("kind", ["no-face", "no-face-with-audio", "no-face-judged", "silent", "no-speech"])
def test_why_there_is_no_answer_goes_on_after_the_path(kind: ReasonKind):
    """As in "clip.mp4: cannot tell - no face is seen"; where there are several, between the others, too."""
    words = summary(replace(a_report("cannot-tell", None), reasons=(Reason(kind),)))
    assert words[0].islower()
    assert "clip.mp4" not in words and not words.endswith(".")


@pytest.mark.parametrize("kind", ["hint", "against"])
def test_partly_judged_says_why_when_a_stretch_is_in_doubt(kind: Literal["hint", "against"]):
    doubt = Reason(kind, {"start_s": 4.0, "end_s": 9.0, "offset_ms": 150.0})
    words = summary(replace(a_report("partly-judged", 0.2), reasons=(doubt,)))
    assert words.startswith("from 0:04.0 to 0:09.0 ")
    assert words.endswith("; as far as it goes, audio and lips agree")


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
    assert clock_time(seconds) == words


def test_the_words_for_a_probability_go_by_the_figure_that_is_shown():
    assert certainty_words(0.9499) == "almost certain, 95 %"
    assert certainty_words(0.944) == "likely, 94 %"


def test_the_three_defects_are_told_apart():
    assert defects(a_report(offset_ms=120.0)) == ("offset",)
    drifting = replace(a_report(offset_ms=0.0), drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=4.0)
    assert defects(drifting) == ("drift",)
    assert defects(replace(drifting, offset_ms=120.0, faults=(FAULT,))) == ("offset", "drift", "local")
    assert defects(replace(a_report("in-sync", 0.0), faults=(replace(FAULT, severity="slight"),))) == ()


def test_a_mismatch_of_some_scenes_is_told_with_their_times():
    dubs = tuple(
        replace(FAULT, start_s=a, end_s=b, offset_ms=None, kind="mismatch")
        for a, b in ((0.0, 24.0), (30.0, 36.0))
    )
    rest = Segment(24.0, 30.0, -9.0, 20.0, 0.98)
    report = replace(a_report("mismatch", None), faults=dubs, segments=(rest,))
    assert summary(report) == "the lips do not match the speech at 0:00.0-0:24.0, 0:30.0-0:36.0"
    assert "at any offset" in summary(replace(report, segments=()))


def test_what_no_shift_mends_is_a_dub_alone_or_a_doubt_about_a_good_part():
    dub = replace(FAULT, offset_ms=None, kind="mismatch")
    only_dubbed = replace(a_report(offset_ms=0.0), faults=(dub,))
    assert unmendable(only_dubbed) == "mismatch"
    assert unmendable(replace(a_report(offset_ms=120.0), faults=(dub,))) is None
    assert unmendable(replace(a_report(offset_ms=120.0), contested=True)) == "contested"
    assert unmendable(a_report("in-sync", 0.0)) is None


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
        "own_offset_ms": None,
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
    drop = timebase(Fraction(30000, 1001), 1 / 3, "01:00:00;00")
    document = to_dict(replace(whole, timebase=drop, faults=(replace(FAULT, start_s=20.000_49),)))
    assert to_dict(from_dict(json.loads(json.dumps(document)))) == document
    assert document["faults"][0]["start_timecode"] == "01:00:19;19"
    bare = to_dict(Report("x.mp4", "error", reasons=said("x.mp4 is no video.")))
    assert to_dict(from_dict(bare)) == bare


def test_the_document_of_a_failed_file_says_why():
    document = to_dict(Report("x.mp4", "error", reasons=said("x.mp4 is no video.")))
    assert document["verdict"] == "error"
    assert document["reasons"] == [
        {"code": "error", "text": "x.mp4 is no video.", "values": {"message": "x.mp4 is no video."}}
    ]
    assert document["offset_ms"] is None


def test_the_reference_of_the_json_documents_names_every_field():
    report = replace(
        a_report(),
        faults=(Fault(3.0, 9.0, 200.0, 12.0, 0.9, "severe"),),
        unjudged=(Unjudged(30.0, 61.0, "no-face"),),
        turns=(Turn(3.0, 9.0, 1, -40.0, 0.97),),
        timebase=timebase(Fraction(25), 0.0, "10:00:00:00"),
    )
    document = to_dict(report)
    names = set(document) | set(document["timebase"])
    document["reasons"] = [{"code": "error", "text": "", "values": {}}]
    for rows in (document[name] for name in ("tracks", "segments", "faults", "unjudged", "reasons", "turns")):
        names |= set(rows[0])
    reference = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in reference} == set()


# --- exit codes ---------------------------------------------------------------------------


def test_exit_codes_are_those_of_the_design():
    assert EXIT_CODES == {
        "in-sync": 0,
        "out-of-sync": 1,
        "mismatch": 1,
        "partly-judged": 3,
        "cannot-tell": 3,
        "error": 4,
    }


@given(st.lists(st.sampled_from(list(EXIT_CODES)), min_size=1))
def test_a_batch_returns_the_worst_of_its_codes(verdicts: list[Verdict]):
    assert exit_code([Report("x", verdict) for verdict in verdicts]) == max(EXIT_CODES[v] for v in verdicts)


def test_a_fault_says_between_which_times_it_begins_only_where_that_is_not_plain():
    fault = Fault(31.4, 40.0, -274.0, 20.0, 0.98, "severe")
    assert place_words(fault) == ""
    assert place_words(replace(fault, start_between_s=(31.2, 31.5), end_between_s=(40.0, 40.0))) == ""
    unsure = replace(fault, start_between_s=(31.2, 32.9), end_between_s=(39.0, 41.5))
    assert place_words(unsure) == " (begins between 0:31.2 and 0:32.9, ends between 0:39.0 and 0:41.5)"
