"""What was judged and what was not: no stretch of the video goes without a word."""

from dataclasses import replace

import numpy as np
import pytest
from scores_factory import made

from avsync.core.records import FaceTrack, Gap, Scores, Speech
from avsync.core.report import Fault, Offset, Segment, Unjudged
from avsync.estimate.calibration import Calibration
from avsync.estimate.coverage import (
    MAX_SPANS,
    judged_parts,
    score_map,
    talked,
    unjudged,
    why_not,
    with_own_offsets,
    without_mismatches,
)

SHIFTS = np.arange(-3, 4)


def a_track(start_s: float, end_s: float, number: int = 0) -> FaceTrack:
    n = round((end_s - start_s) * 25)
    return FaceTrack(number, 0, start_s, np.zeros((n, 4), np.float32), np.ones(n, bool), 0.9)


def some_scores(
    start_s: float, end_s: float, number: int = 0, *, heard: bool = True, stride: int = 1
) -> Scores:
    """Windows of a face seen from `start_s` to `end_s`."""
    times = np.arange(round(start_s * 25), round(end_s * 25) - 4, stride) / 25
    logits = np.zeros((len(times), len(SHIFTS)), np.float32)
    logits[:, 5] = 4
    return Scores(number, times, SHIFTS, logits if heard else np.full_like(logits, np.nan))


def told(*stretches: tuple[float, float, str]) -> list[tuple[object, object, str]]:
    return [(pytest.approx(start), pytest.approx(end), why) for start, end, why in stretches]


def found(*arguments: object, **options: object) -> list[tuple[float, float, str]]:
    return [(u.start_s, u.end_s, u.cause) for u in unjudged(*arguments, **options)]  # type: ignore[arg-type]


def answer(start_s: float, end_s: float) -> Segment:
    return Segment(start_s, end_s, 20.0, 9.0, 0.9)


def gap(start_s: float, end_s: float) -> Segment:
    return Segment(start_s, end_s, None, None, 0.1)


# --- stretches ----------------------------------------------------------------------------


def test_a_face_all_along_with_an_answer_leaves_nothing():
    assert found([a_track(0, 8)], [some_scores(0, 8)], [1.0], [answer(0, 8)], 8.0) == []


def test_sparse_windows_cover_what_lies_between_them():
    scores = some_scores(0, 8, stride=10)
    assert found([a_track(0, 8)], [scores], [1.0], [answer(0, 8)], 8.0, stride=10) == []


def test_a_brief_face_that_hardly_counts_is_named_though_the_answer_spans_it():
    tracks = [a_track(0, 0.7, 0), a_track(0.7, 6, 1)]
    scores = [some_scores(0, 0.7, 0), some_scores(0.7, 6, 1)]
    assert found(tracks, scores, [0.07, 1.0], [answer(0, 6)], 6.0) == told((0.0, 0.72, "not-speaking"))


def test_where_someone_else_speaks_a_listener_leaves_no_gap():
    tracks = [a_track(0, 6, 0), a_track(0, 6, 1)]
    scores = [some_scores(0, 6, 0), some_scores(0, 6, 1)]
    assert found(tracks, scores, [1.0, 0.05], [answer(0, 6)], 6.0) == []


def test_every_cause_is_told_apart():
    tracks = [a_track(2, 20)]
    scores = [some_scores(4, 8), some_scores(8, 12, heard=False), some_scores(12, 20)]
    answers = [answer(4, 14), gap(14, 20)]
    assert found(tracks, scores, [1.0, 1.0, 1.0], answers, 24.0) == told(
        (0, 2, "no-face"),
        (2, 4, "seen-too-briefly"),
        (8, 12, "no-audio"),
        (14, 20, "too-little-evidence"),
        (20, 24, "no-face"),
    )


def test_where_frames_are_missing_no_face_is_judged():
    empty = (Gap(2.0, 3.0, damaged=False), Gap(5.0, 6.0, damaged=True))
    scores = [some_scores(0, 2), some_scores(3, 5), some_scores(6, 8)]
    told_of = found([a_track(0, 8)], scores, [1.0] * 3, [answer(0, 8)], 8.0, gaps=empty)
    assert told_of == told((2, 3, "no-frames"), (5, 6, "damaged"))


def test_a_face_that_was_not_read_because_nobody_speaks_is_not_speaking():
    scores = [some_scores(0, 3), some_scores(6, 9)]
    told_of = found([a_track(0, 9)], scores, [1.0, 1.0], [answer(0, 9)], 9.0, quiet=[(3.0, 6.0)])
    assert told_of == told((3, 6, "not-speaking"))


def test_a_gap_that_fits_another_offset_better_says_so():
    hinted = Segment(4, 8, None, None, 0.1, hint_ms=-200.0)
    (stretch,) = unjudged([a_track(0, 8)], [some_scores(0, 8)], [1.0], [answer(0, 4), hinted], 8.0)
    assert (stretch.start_s, stretch.end_s) == pytest.approx((4, 8))
    assert (stretch.cause, stretch.hint_ms) == ("too-little-evidence", -200.0)


def test_without_an_answer_nothing_is_judged_and_slivers_do_not_break_it_up():
    tracks = [a_track(0, 3, 0), a_track(3.1, 8, 1)]
    scores = [some_scores(0, 3, 0), some_scores(3.1, 8, 1)]
    assert found(tracks, scores, [1.0, 1.0], [gap(0, 8)], 8.0) == told((0, 8, "too-little-evidence"))


def test_a_sliver_at_the_start_goes_with_what_follows():
    assert found([a_track(0.08, 8)], [some_scores(0.08, 8)], [1.0], [answer(0.08, 8)], 8.0) == []


def test_no_scores_at_all():
    assert found([a_track(0, 1)], [], [], [], 2.0) == told((0, 1, "seen-too-briefly"), (1, 2, "no-face"))


def test_no_segment_lies_where_nothing_was_judged():
    segments = (Segment(0.0, 10.0, 5.0, 1.0, 0.9), Segment(10.0, 20.0, None, None, 0.0))
    holes = (Unjudged(0.0, 1.0, "no-face"), Unjudged(4.0, 5.0, "no-audio"), Unjudged(9.0, 20.0, "stopped"))
    assert [(p.start_s, p.end_s) for p in judged_parts(segments, holes)] == [(1.0, 4.0), (5.0, 9.0)]


def test_a_stretch_has_the_offset_that_its_own_windows_make_sure():
    scores = made(500, 0.0, height=6.0)
    scores.logits[250:] = made(250, 1.0, height=6.0, seed=1).logits
    parts = [Segment(0.0, 10.0, -20.0, 9.0, 0.9), Segment(10.0, 20.0, -20.0, 9.0, 0.9)]
    own = with_own_offsets([*parts, Segment(30.0, 40.0, -20.0, 9.0, 0.9)], [scores], [1.0], Calibration())
    assert [part.own_offset_ms for part in own] == [
        pytest.approx(0, abs=6),
        pytest.approx(-40, abs=6),
        None,
    ]


# --- faces --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "offset_ms", "weight", "cause"),
    [
        (None, None, 0.0, "seen-too-briefly"),
        (0.0, None, 0.0, "no-audio"),
        (0.0, 0.0, 0.05, "too-little-evidence"),
        (2.5, 0.0, 0.05, "not-speaking"),
        (9.0, 0.0, 1.0, None),
    ],
)
def test_a_face_that_does_not_count_says_why(
    evidence: float | None, offset_ms: float | None, weight: float, cause: str | None
):
    curve = np.zeros(7, np.float32)
    offset = None if evidence is None else Offset(offset_ms, 9.0, 0.5, evidence, False, SHIFTS, curve)
    assert why_not(offset, weight) == cause


# --- speech -------------------------------------------------------------------------------


def speech(seconds: float) -> Speech:
    """Speech all along, looked for in steps of 40 ms."""
    return Speech(0.0, 0.04, np.ones(round(seconds * 25), np.float32))


def everywhere(scores: Scores, flag: bool = True) -> np.ndarray:
    return np.full(len(scores.times_s), flag)


def test_speech_over_a_talking_face_counts_whether_judged_or_not():
    first, second = some_scores(0, 4), some_scores(4, 8, 1)
    gaps = (Unjudged(4.0, 10.0, "not-speaking"),)
    moving = [everywhere(first), everywhere(second)]
    assert talked(speech(10), [first, second], moving, gaps, 10.0) == pytest.approx((8, 4), abs=0.1)


def test_speech_over_a_silent_face_or_no_face_has_no_visible_speaker():
    first, second = some_scores(0, 4), some_scores(4, 8, 1)
    gaps = (Unjudged(4.0, 10.0, "not-speaking"),)
    moving = [everywhere(first), everywhere(second, False)]
    assert talked(speech(10), [first, second], moving, gaps, 10.0) == pytest.approx((4, 4), abs=0.1)


# --- score map ----------------------------------------------------------------------------


def test_the_map_is_bright_at_the_offset_and_knows_its_axes():
    drawn = score_map([some_scores(2, 10)], [1.0], Calibration(bias_ms=-5.0))
    assert drawn is not None
    assert drawn.start_s == 2.0
    assert drawn.start_s + drawn.step_s * len(drawn.values) == pytest.approx(10, abs=drawn.step_s)
    assert set(drawn.values.argmax(axis=1)) == {5}
    assert drawn.offsets_ms[5] == -75.0
    assert (np.diff(drawn.offsets_ms) < 0).all()


def test_a_listener_does_not_blur_the_map():
    listener = some_scores(0, 4, 1)
    listener.logits[:] = np.roll(listener.logits, 2, axis=1)
    drawn = score_map([some_scores(0, 4), listener], [1.0, 0.05], Calibration())
    assert drawn is not None
    assert set(drawn.values.argmax(axis=1)) == {5}


def test_a_long_video_has_a_map_of_the_same_size_with_its_gaps():
    drawn = score_map(
        [some_scores(0, 600, stride=10), some_scores(3000, 3600, 1, stride=10)], [1, 1], Calibration()
    )
    assert drawn is not None
    assert len(drawn.values) == MAX_SPANS
    assert np.isnan(drawn.values[MAX_SPANS // 2]).all()
    assert np.isfinite(drawn.values[0]).all()


def test_no_audio_gives_no_map():
    assert score_map([some_scores(0, 4, heard=False)], [1.0], Calibration()) is None


# --- Speech of someone else -----------------------------------------------------------------------


def test_speech_that_lips_surely_do_not_say_is_not_listed_again_as_unjudged():
    dub = Fault(10.0, 20.0, None, None, 0.95, "severe", "mismatch")
    parts = (
        Unjudged(0.0, 4.0, "no-face"),
        Unjudged(8.0, 20.1, "not-speaking"),
        Unjudged(12.0, 13.0, "damaged"),
        Unjudged(30.0, 32.0, "too-little-evidence"),
    )
    assert without_mismatches(parts, [dub]) == (parts[0], Unjudged(8.0, 10.0, "not-speaking"), *parts[2:])
    assert without_mismatches(parts, [replace(dub, kind="offset", offset_ms=200.0)]) == parts
