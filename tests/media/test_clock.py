"""Which timestamps of a stream are wrong, and which begin a piece of their own."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.audio.steady import LOOK_S, SLIP_S, steady
from avsync.media.clock import FEW, seconds, wild

FRAME_S = 0.04


def times(count: int = 100) -> np.ndarray:
    return np.arange(count) * FRAME_S


@given(
    place=st.integers(1, 99),
    leap_s=st.one_of(st.floats(61, 1e5), st.floats(-1e5, -1.2)),
    start_s=st.floats(0, 1e5),
)
def test_one_timestamp_that_leaps_away_is_found_wherever_it_is(
    place: int, leap_s: float, start_s: float
) -> None:
    found = start_s + times()
    found[place] += leap_s
    assert wild(found) == [place]


@given(leap_s=st.one_of(st.floats(61, 1e5), st.floats(-1e5, -61)), start_s=st.floats(0, 1e5))
def test_the_first_is_wrong_if_it_is_further_away_than_a_gap_lasts(leap_s: float, start_s: float) -> None:
    found = start_s + times()
    found[0] += leap_s
    assert wild(found) == [0]


@given(place=st.integers(3, 80), few=st.integers(1, FEW), leap_s=st.sampled_from([1.5, 3.0, 8.0, -5.0]))
def test_so_are_a_few_in_a_row_by_any_number_of_seconds(place: int, few: int, leap_s: float) -> None:
    found = times()
    found[place : place + few] += leap_s
    assert wild(found) == list(range(place, place + few))


def test_reordered_frames_are_not_wrong() -> None:
    assert wild(times().reshape(-1, 4)[:, [3, 1, 0, 2]].ravel()) == []


@pytest.mark.parametrize("gap_s", [3.0, 36_000.0, -2.0])
def test_a_gap_or_a_clock_that_goes_on_elsewhere_is_not_wrong(gap_s: float) -> None:
    found = times()
    found[50:] += gap_s
    assert wild(found) == []


def test_a_gap_after_the_first_frame_is_a_gap() -> None:
    found = times()
    found[1:] += 2.0
    assert wild(found) == []


# --- Audio ----------------------------------------------------------------------------------


def placed(frames: list[tuple[float, float]], begins_s: tuple[float, ...] = ()) -> list[float]:
    return [time_s for time_s, _ in steady(((t, length_s, None) for t, length_s in frames), begins_s)]


@given(st.lists(st.floats(-SLIP_S / 2.1, SLIP_S / 2.1), min_size=1, max_size=50))
def test_rounded_timestamps_leave_no_gaps(errors_s: list[float]) -> None:
    found = placed([(n * 0.021 + error_s, 0.021) for n, error_s in enumerate(errors_s)])
    assert found == pytest.approx([errors_s[0] + n * 0.021 for n in range(len(errors_s))])


@pytest.mark.parametrize("slip_s", [0.006, 0.015, 0.5, -0.006, -0.3])
def test_a_slip_that_lasts_counts_from_its_first_frame(slip_s: float) -> None:
    frames = [(n * 0.021 + (slip_s if n >= 20 else 0), 0.021) for n in range(60)]
    assert placed(frames) == pytest.approx([time_s for time_s, _ in frames])


@pytest.mark.parametrize("wrong", [{20: 3.0}, {20: -0.1}, dict.fromkeys(range(1, 60, 2), 0.0213)])
def test_timestamps_that_come_back_do_not(wrong: dict[int, float]) -> None:
    frames = [(n * 0.021 + wrong.get(n, 0), 0.021) for n in range(60)]
    assert placed(frames) == pytest.approx([n * 0.021 for n in range(60)])


def test_a_piece_begins_at_its_own_time_at_once() -> None:
    frames = [(n * 0.021 + (0.003 if n >= 20 else 0), 0.021) for n in range(20 + round(LOOK_S / 0.021))]
    assert placed(frames, (20 * 0.021 + 0.003,)) == pytest.approx([time_s for time_s, _ in frames])


# --- Units ----------------------------------------------------------------------------------


@given(
    stamp=st.integers(-(2**63), 2**63 - 1),
    unit=st.builds(Fraction, st.integers(1, 10**6), st.integers(1, 10**9)),
)
def test_a_timestamp_in_seconds_is_the_nearest_number_to_it(stamp: int, unit: Fraction) -> None:
    assert seconds(stamp, unit) == float(stamp * unit)
