"""What was judged and what was not: no stretch of the video goes without a word."""

import numpy as np
import pytest

from avsync.core.records import FaceTrack, Offset, Scores, Segment, TrackReport
from avsync.estimate.calibration import Calibration
from avsync.estimate.coverage import (
    MAX_SPANS,
    NO_FACE,
    NO_SOUND,
    NOT_SPEAKING,
    TOO_BRIEF,
    TOO_LITTLE,
    score_map,
    unjudged,
    why_not,
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
    return [(u.start_s, u.end_s, u.why) for u in unjudged(*arguments, **options)]  # type: ignore[arg-type]


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
    assert found(tracks, scores, [0.07, 1.0], [answer(0, 6)], 6.0) == told((0.0, 0.72, NOT_SPEAKING))


def test_where_someone_else_speaks_a_listener_leaves_no_gap():
    tracks = [a_track(0, 6, 0), a_track(0, 6, 1)]
    scores = [some_scores(0, 6, 0), some_scores(0, 6, 1)]
    assert found(tracks, scores, [1.0, 0.05], [answer(0, 6)], 6.0) == []


def test_every_cause_is_told_apart():
    tracks = [a_track(2, 20)]
    scores = [some_scores(4, 8), some_scores(8, 12, heard=False), some_scores(12, 20)]
    answers = [answer(4, 14), gap(14, 20)]
    assert found(tracks, scores, [1.0, 1.0, 1.0], answers, 24.0) == told(
        (0, 2, NO_FACE), (2, 4, TOO_BRIEF), (8, 12, NO_SOUND), (14, 20, TOO_LITTLE), (20, 24, NO_FACE)
    )


def test_a_gap_that_leans_to_another_offset_says_so():
    hinted = Segment(4, 8, None, None, 0.1, hint_ms=-200.0)
    words = f"{TOO_LITTLE}, but it rather seems 200 ms late"
    assert found([a_track(0, 8)], [some_scores(0, 8)], [1.0], [answer(0, 4), hinted], 8.0) == told(
        (4, 8, words)
    )


def test_without_an_answer_nothing_is_judged_and_slivers_do_not_break_it_up():
    tracks = [a_track(0, 3, 0), a_track(3.1, 8, 1)]
    scores = [some_scores(0, 3, 0), some_scores(3.1, 8, 1)]
    assert found(tracks, scores, [1.0, 1.0], [gap(0, 8)], 8.0) == told((0, 8, TOO_LITTLE))


def test_a_sliver_at_the_start_goes_with_what_follows():
    assert found([a_track(0.08, 8)], [some_scores(0.08, 8)], [1.0], [answer(0.08, 8)], 8.0) == []


def test_no_scores_at_all():
    assert found([a_track(0, 1)], [], [], [], 2.0) == told((0, 1, TOO_BRIEF), (1, 2, NO_FACE))


# --- faces --------------------------------------------------------------------------------


def a_face(
    evidence: float | None, weight: float, end_s: float = 5.0, offset_ms: float | None = 0.0
) -> TrackReport:
    curve = np.zeros(7, np.float32)
    offset = None if evidence is None else Offset(offset_ms, 9.0, 0.5, evidence, False, SHIFTS, curve)
    return TrackReport(0, 0.0, end_s, 10, offset, weight=weight)


def test_a_face_that_counts_needs_no_excuse():
    assert why_not(a_face(9.0, 1.0)) is None


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (a_face(None, 0.0), "too briefly seen or has no sound"),
        (a_face(0.0, 0.0, offset_ms=None), "no sound"),
        (a_face(0.0, 0.05, end_s=0.7), "seen for only 0.7 s"),
        (a_face(2.5, 0.05), "at any offset (evidence 2.5)"),
    ],
)
def test_a_face_that_does_not_count_says_why(face: TrackReport, words: str):
    assert words in str(why_not(face))


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


def test_no_sound_gives_no_map():
    assert score_map([some_scores(0, 4, heard=False)], [1.0], Calibration()) is None
