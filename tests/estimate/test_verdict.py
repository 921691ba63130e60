"""Constant offset, drift and local faults: what counts as which, and what the verdict is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from demo_factory import moved_demo
from hypothesis import assume, given
from hypothesis import strategies as st
from report_factory import a_report, said
from scores_factory import made

import avsync
from avsync.core.constants import FRAME_S
from avsync.core.records import Scores, Span
from avsync.core.report import Fault, Offset, Reason, Report, Segment
from avsync.core.tolerance import defects, excess
from avsync.estimate.offset import estimate
from avsync.estimate.support import DOUBT_TALK_S, Contradiction
from avsync.estimate.verdict import contested_share, judge, severity
from avsync.report.document import to_json
from avsync.report.reasons import reason_words
from avsync.report.summary import summary

EBU = (40.0, 60.0)


def answer(offset_ms: float, probability=0.95, uncertainty_ms=10.0, segments=(), **more) -> Offset:
    curve = np.zeros(31, np.float32)
    shifts = np.arange(-15, 16)
    return Offset(offset_ms, uncertainty_ms, probability, 9.0, False, shifts, curve, tuple(segments), **more)


def part(start_s: float, end_s: float, offset_ms: float, fault=False) -> Segment:
    return Segment(start_s, end_s, offset_ms, 10.0, 0.9, fault)


# --- Constant offset --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_ms", "expected"),
    [(0, "in-sync"), (40, "in-sync"), (41, "out-of-sync"), (-60, "in-sync"), (-61, "out-of-sync")],
)
def test_early_and_late_have_their_own_limits(offset_ms, expected):
    assert judge(answer(offset_ms), EBU).verdict == expected


def test_an_error_is_measured_by_the_limit_on_its_side():
    assert excess(20.0, EBU) == 0.5
    assert excess(-120.0, EBU) == 2.0
    assert excess(None, EBU) == 0.0


def test_a_limit_within_the_uncertainty_is_reported():
    assert judge(answer(0), EBU).reasons == ()
    judged = judge(answer(-55), EBU)
    assert judged.verdict == "in-sync"
    assert judged.reasons == (Reason("near-limit", {"limit_ms": -60.0, "uncertainty_ms": 10.0}),)


def test_too_little_certainty_cannot_tell():
    judged = judge(answer(0, probability=0.5), EBU)
    assert judged.verdict == "cannot-tell"
    assert judged.reasons
    assert judge(answer(0, probability=0.5), EBU, min_probability=0.4).verdict == "in-sync"


def test_no_window_cannot_tell():
    nothing = Offset(
        None, None, 0.0, 0.0, False, np.arange(3), np.zeros(3, np.float32), reasons=said("no face")
    )
    assert judge(nothing, EBU) == judge(
        nothing, EBU, foreign=(Contradiction(0, 20, 20.0, sure=True, against=True),)
    )
    assert judge(nothing, EBU).verdict == "cannot-tell"


# --- Mismatch ---------------------------------------------------------------------------------


def everywhere(scores: Scores, flag=True):
    return np.full(len(scores.times_s), flag)


def test_a_dubbed_scene_is_a_fault_of_its_own():
    judged = judge(
        answer(0), EBU, foreign=(Contradiction(10, 18, 6.0, sure=True, against=True),), talk_s=40.0
    )
    assert judged.verdict == "out-of-sync"
    (fault,) = judged.faults
    assert (fault.kind, fault.start_s, fault.end_s, fault.offset_ms) == ("mismatch", 10, 18, None)
    report = Report("a", "out-of-sync", 0.0, faults=judged.faults, reasons=judged.reasons)
    assert summary(report) == "in sync but for 0:10.0-0:18.0: the lips do not match the speech"


def test_a_video_most_of_which_is_dubbed_does_not_match():
    foreign = (Contradiction(10, 40, 25.0, sure=True, against=True),)
    assert judge(answer(0), EBU, foreign=foreign, talk_s=30.0).verdict == "mismatch"


def test_what_has_another_offset_is_not_a_mismatch():
    parts = [part(0, 10, 0), part(10, 15, 200, fault=True), part(15, 60, 0)]
    foreign = [Contradiction(8.0, 15.4, 6.0, sure=True, against=True)]
    faults = judge(answer(0, segments=parts), EBU, foreign=foreign, talk_s=50.0).faults
    assert [(f.kind, f.start_s, f.end_s) for f in faults] == [("mismatch", 8, 10), ("offset", 10, 15)]


def test_where_nothing_is_sure_ten_seconds_of_foreign_speech_are_a_mismatch():
    unsure = answer(0, probability=0.2)
    assert (
        judge(
            unsure, EBU, foreign=(Contradiction(0, 14, 12.0, sure=True, against=True),), talk_s=12.0
        ).verdict
        == "mismatch"
    )
    assert (
        judge(unsure, EBU, foreign=(Contradiction(0, 8, 6.0, sure=True, against=True),), talk_s=6.0).verdict
        == "cannot-tell"
    )


def test_a_short_scene_that_fits_nowhere_is_not_called_in_sync():
    judged = judge(
        answer(0), EBU, foreign=(Contradiction(10, 14, 2.5, sure=False, against=True),), talk_s=40.0
    )
    assert (judged.verdict, judged.faults) == ("partly-judged", ())
    assert judged.reasons == (Reason("against", {"start_s": 10, "end_s": 14}),)


@pytest.mark.parametrize(("talk_s", "against"), [(DOUBT_TALK_S - 0.1, True), (8.0, False)])
def test_what_says_little_is_left_to_the_share_that_must_be_judged(talk_s: float, against: bool):
    """Speech that supports the offset too weakly, or points elsewhere for a moment."""
    open_stretch = Contradiction(10, 20, talk_s, sure=False, against=against)
    judged = judge(answer(0), EBU, foreign=(open_stretch,), talk_s=40.0, judged_share=0.8)
    assert judged.verdict == "in-sync"
    judged = judge(answer(0), EBU, foreign=(open_stretch,), talk_s=40.0, judged_share=0.3)
    assert judged.verdict == "partly-judged"


# --- Drift ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drift", "expected"), [(0.0, "in-sync"), (19, "in-sync"), (-21, "out-of-sync")])
def test_a_drift_has_its_own_limit(drift, expected):
    drifting = answer(0, drift_ms_per_min=drift, drift_uncertainty_ms_per_min=0.5)
    assert judge(drifting, EBU, 20.0).verdict == expected
    assert judge(drifting, EBU, 30.0).verdict == "in-sync"


def test_a_limit_within_the_uncertainty_of_a_drift_is_reported():
    judged = judge(answer(0, drift_ms_per_min=25.0, drift_uncertainty_ms_per_min=30.0), EBU)
    assert judged.verdict == "out-of-sync"
    near = {"limit_ms_per_min": 20.0, "uncertainty_ms_per_min": 30.0}
    assert Reason("drift-near-limit", near) in judged.reasons


def test_a_drift_is_reported_with_the_offset_it_leads_to():
    parts = [part(0, 30, -30.0), part(30, 60, 30.0)]
    drifting = answer(0, segments=parts, drift_ms_per_min=60.0, drift_uncertainty_ms_per_min=5.0)
    (reason,) = judge(drifting, EBU).reasons
    assert reason_words(reason) == (
        "the audio drifts earlier by 60 ms a minute (more than the 20 ms allowed): "
        "from 45 ms late at 0:00.0 to 15 ms early at 1:00.0"
    )


@given(st.floats(-200, 200), st.floats(-50, 50), st.lists(st.floats(1, 60), min_size=1, max_size=6))
def test_the_ends_of_a_drift_lie_as_far_apart_as_it_says(drift: float, first_ms: float, lengths_s):
    """However long the stretches are that it was measured in."""
    assume(drift)
    edges = [0.0, *np.cumsum(lengths_s).tolist()]
    parts = [part(a, b, first_ms + drift * (a + b) / 120) for a, b in pairwise(edges)]
    drifting = answer(0, segments=parts, drift_ms_per_min=drift, drift_uncertainty_ms_per_min=0.1)
    told = judge(drifting, EBU).reasons[0].values
    assert told["from_ms"] == pytest.approx(first_ms, abs=1e-6)
    assert told["to_ms"] - told["from_ms"] == pytest.approx(drift * edges[-1] / 60, abs=1e-6)


def test_a_slow_drift_is_out_of_sync_where_it_has_led_out_of_tolerance():
    parts = [part(0, 600, -50.0), part(600, 1200, 50.0)]
    drifting = answer(0, segments=parts, drift_ms_per_min=10.0, drift_uncertainty_ms_per_min=1.0)
    assert judge(drifting, EBU).verdict == "out-of-sync"


# --- Local faults -----------------------------------------------------------------------------


def test_a_wrong_middle_third_does_not_pass():
    thirds = [part(0, 10, 0.0), part(10, 20, 200.0, fault=True), part(20, 30, 0.0)]
    judged = judge(answer(0, segments=thirds), EBU)
    assert judged.verdict == "out-of-sync"
    assert [reason_words(reason) for reason in judged.reasons] == [
        "from 0:10.0 to 0:20.0 the audio is 200 ms early"
    ]
    assert judged.faults == (Fault(10, 20, 200.0, 10.0, 0.9, "severe"),)


def weak(start_s: float, end_s: float, begins: bool = False) -> Segment:
    """What says too little, but says the offset of the fault beside it rather than that of the rest."""
    between = (start_s - 0.1, start_s + 0.1) if begins else None
    return Segment(start_s, end_s, None, None, 0.3, fault=True, start_between_s=between)


@pytest.mark.parametrize(
    ("segments", "span"),
    [
        ([part(10, 20, 200.0, fault=True), weak(20, 25)], (10, 25)),
        ([weak(10, 13, begins=True), weak(13, 15), part(15, 25, 200.0, fault=True)], (10, 25)),
        ([weak(10, 13), part(13, 20, 200.0, fault=True), weak(20, 25)], (10, 25)),
        # What is not beside it, and what someone else says, is no part of it.
        ([part(10, 20, 200.0, fault=True), part(20, 22, 0.0), weak(22, 25)], (10, 20)),
        ([part(10, 20, 200.0, fault=True), weak(20, 25), weak(50, 60)], (10, 25)),
    ],
)
def test_a_fault_takes_in_what_says_too_little_beside_it(segments: list[Segment], span: Span):
    judged = judge(answer(0, segments=[part(0, 10, 0.0), *segments, part(60, 90, 0.0)]), EBU)
    assert [(f.start_s, f.end_s, f.offset_ms) for f in judged.faults] == [(*span, 200.0)]


def test_a_fault_does_not_take_in_speech_of_someone_else():
    segments = [part(0, 10, 0.0), part(10, 20, 200.0, fault=True), weak(20, 26), part(26, 60, 0.0)]
    dub = Contradiction(20, 26, 5.0, sure=True, against=True)
    judged = judge(answer(0, segments=segments), EBU, foreign=(dub,), talk_s=40.0)
    told = [(f.start_s, f.end_s, f.kind) for f in judged.faults]
    assert told == [(10, 20, "offset"), (20, 26, "mismatch")]


def test_what_begins_with_a_jump_belongs_to_the_fault_after_it():
    ahead, after = part(10, 20, 200.0, fault=True), part(24, 34, -300.0, fault=True)
    segments = [part(0, 10, 0.0), ahead, weak(20, 24, begins=True), after, part(34, 60, 0.0)]
    judged = judge(answer(0, segments=segments), EBU)
    assert [(f.start_s, f.end_s) for f in judged.faults] == [(10, 20), (20, 34)]


@pytest.mark.parametrize(("height", "end_s"), [(1.5, 30), (0.2, 28)])
def test_badly_read_lips_after_a_fault_are_counted_with_it_if_they_say_it_at_all(height, end_s):
    """From the scores on: eight seconds of a fault, then two in which the lips say little."""
    frame = np.arange(1000)
    late = (frame >= 500) & (frame < 750)
    badly = (frame >= 700) & late
    heights = np.where(badly, height, 3.0)[:, None]
    scores = made(1000, np.where(late, 6.0, 0.0), height=heights, seed=2)
    found = estimate(scores, cuts=[500 * FRAME_S, 700 * FRAME_S, 750 * FRAME_S])
    assert [s.offset_ms for s in found.segments if s.start_s == 28] == [None]
    (fault,) = judge(found, EBU).faults
    assert (fault.start_s, fault.end_s) == pytest.approx((20, end_s), abs=0.3)


def test_a_wrong_middle_third_does_not_pass_from_the_scores_on():
    frame = np.arange(750)
    wrong = (frame >= 250) & (frame < 500)
    judged = judge(estimate(made(750, np.where(wrong, -5.0, 0.0))), EBU)
    assert judged.verdict == "out-of-sync"
    (fault,) = judged.faults
    assert (fault.start_s, fault.end_s) == pytest.approx((10, 20), abs=1)
    assert fault.offset_ms == pytest.approx(200, abs=15)


@pytest.mark.slow
def test_a_real_check_does_not_pass_a_wrong_middle_third(tmp_path):
    clip = moved_demo(tmp_path / "clip.mp4", lambda t: np.where((t >= 10) & (t < 20), 200.0, 0.0))
    report = avsync.check(clip)
    assert report.verdict in ("out-of-sync", "cannot-tell")
    assert abs(report.offset_ms or 0) < 60
    if report.verdict == "out-of-sync":
        assert [f.offset_ms for f in report.faults] == pytest.approx([200], abs=60)


def test_one_wrong_window_passes():
    scores = made(750, 0.0)
    scores.logits[400] = -5
    scores.logits[400, 2] = 25
    judged = judge(estimate(scores), EBU)
    assert (judged.verdict, judged.faults) == ("in-sync", ())


@pytest.mark.parametrize(
    ("offset_ms", "expected"),
    [(30, "slight"), (50, "clear"), (80, "severe"), (-80, "clear"), (-120, "severe")],
)
def test_severity_counts_in_limits(offset_ms, expected):
    assert severity(offset_ms, EBU) == expected


def test_what_the_repair_of_the_rest_brings_into_tolerance_is_slight():
    assert severity(-203.0, EBU, rest_ms=-156.0) == "slight"
    assert severity(-300.0, EBU, rest_ms=-156.0) == "severe"
    assert severity(0.0, EBU, rest_ms=-156.0) == "slight"


def test_a_fault_in_a_file_that_needs_no_repair_counts_by_itself():
    assert severity(-65.0, EBU, rest_ms=-7.0) == "clear"


@given(
    st.lists(st.floats(-300, 300), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from([0.0, 5.0]),
)
def test_a_file_that_is_out_of_sync_has_a_defect(
    offsets: list[float], faulty: list[bool], min_fault_s: float
):
    parts = [part(6.0 * i, 6.0 * i + 6.0, o, faulty[i]) for i, o in enumerate(offsets)]
    usual = next((s.offset_ms for s in parts if not s.fault), None)
    assume(usual is not None)
    judged = judge(answer(usual or 0.0, segments=parts), EBU, min_fault_s=min_fault_s)
    report = replace(
        a_report(judged.verdict, usual), segments=tuple(parts), faults=judged.faults, min_fault_s=min_fault_s
    )
    assert bool(defects(report)) == (judged.verdict == "out-of-sync")
    assert "but for ;" not in summary(report) and not summary(report).endswith("but for ")


def test_too_little_of_the_speech_judged_is_not_in_sync():
    judged = judge(answer(0), EBU, judged_share=0.3, min_judged=0.5)
    assert judged.verdict == "partly-judged"
    assert judged.reasons == (Reason("partly-judged", {"judged_share": 0.3, "min_judged": 0.5}),)
    assert judge(answer(0), EBU, judged_share=0.3, min_judged=0.2).verdict == "in-sync"
    assert judge(answer(200), EBU, judged_share=0.3, min_judged=0.5).verdict == "out-of-sync"


def test_a_slight_fault_is_reported_and_passes():
    parts = [part(0, 10, -30.0), part(10, 20, 30.0, fault=True)]
    judged = judge(answer(-30, segments=parts), EBU)
    assert judged.verdict == "in-sync"
    assert [fault.severity for fault in judged.faults] == ["slight"]


@pytest.mark.parametrize(
    ("min_fault_s", "verdict", "grade"), [(0.0, "out-of-sync", "severe"), (4.0, "out-of-sync", "severe")]
)
def test_a_fault_long_enough_counts(min_fault_s: float, verdict: str, grade: str):
    segments = [part(0, 20, 0), part(20, 24, 200, fault=True), part(24, 40, 0)]
    judged = judge(answer(0, segments=segments), EBU, min_fault_s=min_fault_s)
    assert (judged.verdict, judged.faults[0].severity) == (verdict, grade)


def test_a_fault_shorter_than_those_that_count_is_only_listed():
    segments = [part(0, 20, 0), part(20, 24, 200, fault=True), part(24, 40, 0)]
    dubbed = Contradiction(28.0, 31.0, 3.0, sure=True, against=True)
    judged = judge(answer(0, segments=segments), EBU, foreign=[dubbed], talk_s=40.0, min_fault_s=4.1)
    assert judged.verdict == "in-sync"
    assert [fault.severity for fault in judged.faults] == ["slight", "slight"]
    assert [reason.kind for reason in judged.reasons] == ["fault", "mismatch-fault"]


def test_the_parts_of_a_fault_count_together():
    segments = [part(0, 20, 0), part(20, 23, 200, True), part(23, 26, 204, True), part(26, 40, 0)]
    assert judge(answer(0, segments=segments), EBU, min_fault_s=5.0).verdict == "out-of-sync"


def test_neighbouring_stretches_of_one_fault_are_one():
    parts = [
        part(0, 10, 0.0),
        part(10, 20, 200.0, True),
        part(20, 30, 200.0, True),
        part(30, 40, -90.0, True),
    ]
    faults = judge(answer(0, segments=parts), EBU).faults
    assert [(f.start_s, f.end_s, f.offset_ms) for f in faults] == [(10, 30, 200.0), (30, 40, -90.0)]


def test_a_joined_fault_has_the_offset_of_its_middle():
    parts = [part(0, 10, 0.0), part(10, 20, 200.0, True), part(20, 50, 208.0, True)]
    (fault,) = judge(answer(0, segments=parts), EBU).faults
    assert fault.offset_ms == pytest.approx(206.0)


# --- Gaps -------------------------------------------------------------------------------------


def test_a_third_that_rather_fits_another_offset_is_not_called_in_sync():
    doubtful = Segment(10, 20, None, None, 0.3, hint_ms=200.0)
    judged = judge(answer(0, segments=[part(0, 10, 0.0), doubtful, part(20, 30, 0.0)]), EBU)
    assert judged.verdict == "cannot-tell"
    assert "from 0:10.0 to 0:20.0 it seems to be 200 ms early" in reason_words(judged.reasons[0])


def test_a_third_that_fits_nowhere_although_the_lips_speak_is_not_called_in_sync():
    scores = made(750, 0.0)
    scores.logits[250:500] = made(250, height=0, seed=7).logits
    sharp = replace(scores, logits=2.5 * scores.logits)
    offset = estimate(sharp)
    share = contested_share([sharp], [everywhere(sharp)], offset.segments)
    assert share == pytest.approx(1 / 3, abs=0.05)
    judged = judge(offset, EBU, contested=share)
    assert judged.verdict == "cannot-tell"
    assert judged.reasons[-1].kind == "against"
    to_json([Report("a", "cannot-tell", segments=offset.segments)], many=False)
    silent = (sharp.times_s < 10) | (sharp.times_s >= 20)
    assert contested_share([sharp], [silent], offset.segments) < 0.05
    assert judge(offset, EBU).verdict == "in-sync"


@pytest.mark.parametrize("hint_ms", [0.0, None])
def test_a_third_that_contradicts_a_large_offset_is_reported(hint_ms: float | None):
    doubtful = Segment(0, 10, None, None, 0.3, hint_ms=hint_ms, against=hint_ms is None)
    offset = answer(200, segments=[doubtful, part(10, 30, 200.0)])
    judged = judge(offset, EBU, contested=0.3)
    assert (judged.verdict, judged.contested) == ("out-of-sync", True)
    assert (judged.reasons[-1].values["start_s"], judged.reasons[-1].values["end_s"]) == (0, 10)
    told = Report("a", "out-of-sync", 200.0, reasons=judged.reasons, contested=True)
    assert "on the whole, but from 0:00.0" in summary(told) and "fixes it" not in summary(told)
    assert not judge(replace(offset, segments=(part(0, 30, 200.0),)), EBU).contested


def test_clear_speech_contests_nothing():
    scores = made(750, 0.4, height=2.0)
    assert contested_share([scores], [everywhere(scores)], estimate(scores).segments) == 0
    assert contested_share([], [], ()) == 0


@pytest.mark.parametrize("hint_ms", [None, 30.0])
def test_a_third_without_evidence_or_with_agreeing_evidence_leaves_the_rest_in_sync(hint_ms):
    gap = Segment(10, 20, None, None, 0.3, hint_ms=hint_ms)
    judged = judge(answer(0, segments=[part(0, 10, 0.0), gap, part(20, 30, 0.0)]), EBU)
    assert judged.verdict == "in-sync"
