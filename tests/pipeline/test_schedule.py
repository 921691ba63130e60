"""Which stretches of a long video are looked at: spread over it, each once, until the answer is certain."""

from dataclasses import replace

import pytest

from avsync.core.report import Report, Unjudged
from avsync.pipeline.schedule import CHUNK_S, SHORT_S, certain, cut, longest_gap, merged, rounds, total

SURE = Report("x.mp4", "in-sync", 5.0, 10.0, 0.95, tolerance_ms=(40.0, 60.0))


@pytest.mark.parametrize("seconds", [1.0, SHORT_S, SHORT_S + 1, 3601.7, 7200.0])
@pytest.mark.parametrize("adaptive", [True, False])
def test_together_the_rounds_are_the_whole_video_once(seconds: float, adaptive: bool):
    spans = [span for chosen in rounds((0.0, seconds), adaptive=adaptive) for span in chosen]
    assert merged(spans) == ((0.0, pytest.approx(seconds)),)
    assert total(spans) == pytest.approx(seconds)


def test_a_short_video_is_one_stretch():
    assert (
        list(rounds((0.0, 60.0), adaptive=True))
        == list(rounds((0.0, 60.0), adaptive=False))
        == [[(0.0, 60.0)]]
    )


def test_the_first_round_spreads_a_sixth_over_the_video_with_both_ends():
    first = next(rounds((0.0, 7200.0), adaptive=True))
    assert total(first) == pytest.approx(7200 / 6, rel=0.05)
    assert (first[0][0], first[-1][1]) == (0.0, 7200.0)
    assert longest_gap(first, (0.0, 7200.0)) <= 100.0


def test_each_round_leaves_shorter_gaps():
    looked, gaps = [], []
    for chosen in rounds((0.0, 7200.0), adaptive=True):
        looked += chosen
        gaps.append(longest_gap(merged(looked), (0.0, 7200.0)))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == 0


def test_a_long_video_looked_at_in_full_comes_in_order():
    (spans,) = rounds((0.0, 7200.0), adaptive=False)
    assert spans == cut((0.0, 7200.0), CHUNK_S)
    assert spans == sorted(spans)
    assert max(end - start for start, end in spans) <= CHUNK_S


@pytest.mark.parametrize(
    ("report", "enough"),
    [
        (SURE, True),
        (replace(SURE, verdict="out-of-sync", offset_ms=-200.0), True),
        (replace(SURE, probability=0.8), False),
        (replace(SURE, offset_ms=35.0), False),
        (replace(SURE, offset_ms=-52.0), False),
        (replace(SURE, verdict="cannot-tell"), False),
        (replace(SURE, verdict="mismatch", offset_ms=None), False),
        (replace(SURE, unjudged=(Unjudged(0, 9, "too-little-evidence", 200.0),)), False),
    ],
)
def test_more_is_looked_at_until_more_would_change_nothing(report: Report, enough: bool):
    assert certain(report) is enough


def test_stretches_that_touch_are_one():
    assert merged([(20.0, 40.0), (0.0, 20.0), (60.0, 80.0)]) == ((0.0, 40.0), (60.0, 80.0))
    assert longest_gap([(0.0, 40.0), (60.0, 80.0)], (0.0, 130.0)) == 50.0
    assert longest_gap([], (0.0, 7.0)) == 7.0
