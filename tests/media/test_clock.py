"""Which timestamps of a stream are wrong, and which begin a piece of their own."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.audio.steady import LOOK_S, SLIP_S, steady
from avsync.media import clock
from avsync.media.clock import FEW, FEW_AT_ENDS, seconds

FRAME_S = 0.04


def times(count: int = 100) -> np.ndarray:
    return np.arange(count) * FRAME_S


def wild(times_s: np.ndarray) -> list[int]:
    """Of a single stream."""
    return clock.wild(times_s, np.zeros(len(times_s), int))


AUDIO_S = 0.021


def interleaved(*moves: tuple[int, slice, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times and streams of 100 frames of video (0) and as much audio (1) in the order of a file, and which of
    them were moved: by `moves` (stream, which of its packets, seconds)."""
    numbers = np.concatenate([np.arange(100), np.arange(190)])
    streams = np.repeat([0, 1], [100, 190])
    right = numbers * np.where(streams == 0, FRAME_S, AUDIO_S)
    order = np.argsort(right, kind="stable")
    found, streams = right[order], streams[order]
    moved = np.zeros(len(found), bool)
    for stream, which, by_s in moves:
        places = np.flatnonzero(streams == stream)[which]
        found[places] += by_s
        moved[places] = True
    return found, streams, np.flatnonzero(moved)


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


LEAPS_S = st.one_of(st.floats(1.2, 1e5), st.floats(-1e5, -1.2))


@given(
    stream=st.integers(0, 1),
    first=st.integers(1, 30),
    count=st.integers(1, 30),
    leap_s=LEAPS_S,
    other_s=LEAPS_S,
)
def test_any_number_that_leap_alone_are_wrong_if_the_others_go_on_where_they_end(
    stream: int, first: int, count: int, leap_s: float, other_s: float
) -> None:
    """As all frames of audio in a packet (PES) of a transport stream, or in several of them."""
    one = (stream, slice(first, first + count), leap_s)
    elsewhere = (1 - stream, slice(70, 90) if stream else slice(130, 170), other_s)
    for moves in ([one], [one, elsewhere]):
        found, streams, moved = interleaved(*moves)
        assert clock.wild(found, streams) == moved.tolist()


@given(first=st.integers(20, 40), leap_s=LEAPS_S)
def test_what_all_streams_do_together_is_a_piece(first: int, leap_s: float) -> None:
    found, streams, _ = interleaved()
    moved = (found >= first * FRAME_S) & (found < (first + 25) * FRAME_S)
    found[moved] += leap_s
    assert clock.wild(found, streams) == []


@pytest.mark.parametrize("which", [slice(0, 15), slice(175, 190)])
def test_the_first_and_the_last_packet_of_a_stream_may_be_wrong_as_others(which: slice) -> None:
    found, streams, moved = interleaved((1, which, 36_000.0))
    assert clock.wild(found, streams) == moved.tolist()


def test_many_that_leap_away_in_a_single_stream_are_a_piece() -> None:
    """Without another stream nothing tells which of them are right."""
    found = times()
    found[20:70] += 36_000
    assert wild(found) == []


@given(rate=st.floats(2.0, 60.0), depth=st.integers(1, 4), leap_s=st.floats(100, 1e5))
def test_reordered_frames_are_not_wrong(rate: float, depth: int, leap_s: float) -> None:
    """Pyramids of B-frames of any depth and rate."""

    def within(a: int, b: int) -> list[int]:
        middle = (a + b) // 2
        return [] if b - a < 2 else [middle, *within(a, middle), *within(middle, b)]

    group = 2**depth
    order = [0, *(n for a in range(0, 160, group) for n in (a + group, *within(a, a + group)))]
    found = np.array(order) / rate
    assert wild(found) == []
    found[80] += leap_s
    assert wild(found) == [80]


@pytest.mark.parametrize("gap_s", [3.0, 36_000.0, -2.0])
def test_a_gap_or_a_clock_that_goes_on_elsewhere_is_not_wrong(gap_s: float) -> None:
    found = times()
    found[50:] += gap_s
    assert wild(found) == []


@given(
    heads=st.tuples(st.integers(0, FEW_AT_ENDS), st.integers(0, FEW_AT_ENDS)),
    leap_s=st.one_of(st.floats(-1e5, -1.2), st.floats(5.0, 1e5)),
)
def test_what_lies_far_from_all_others_at_an_end_is_alone(heads: tuple[int, int], leap_s: float) -> None:
    found, streams, _ = interleaved()
    moved: list[int] = []
    for stream, count in enumerate(heads):
        own = np.flatnonzero(streams == stream)
        ends = own[:count] if leap_s < 0 else own[len(own) - count :]
        found[ends] += leap_s
        moved += ends.tolist()
    assert clock.lone(found, streams) == sorted(moved)


@pytest.mark.parametrize("count", [1, FEW_AT_ENDS])
def test_images_that_are_shown_for_long_are_not_alone(count: int) -> None:
    found = times()
    found[:count] -= 30
    assert clock.lone(found, np.zeros(len(found), int)) == []
    found, streams, _ = interleaved((0, slice(0, count), -30.0))
    found[streams == 1] -= 30
    assert clock.lone(found, streams) == []


def test_a_gap_after_the_first_frame_is_a_gap() -> None:
    found = times()
    found[1:] += 2.0
    assert wild(found) == []


@given(
    lengths_s=st.tuples(st.floats(1, 4), st.floats(1, 4)),
    start_s=st.floats(-2, 5),
    late_s=st.floats(-0.3, 0.3),
)
def test_the_streams_of_a_joined_recording_go_over_together(
    lengths_s: tuple[float, float], start_s: float, late_s: float
) -> None:
    """Wherever the next one's clock begins, each of its packets of video is related to its audio."""
    parts = [interleaved(), interleaved()]
    times_s, streams, recording = [], [], []
    for number, (found, of_stream, _) in enumerate(parts):
        kept = found < np.where(of_stream == 0, *lengths_s) if number == 0 else found >= 0
        later_s = np.where(of_stream == 1, late_s, 0.0)[kept] + (start_s if number else 0.0)
        times_s.append(found[kept] + later_s)
        streams.append(of_stream[kept])
        recording.append(np.full(kept.sum(), number))
    found, of_stream, of_part = map(np.concatenate, (times_s, streams, recording))
    leaves, runs = set(clock.leaving(found, of_stream)), clock.Runs(10.0)
    placed = np.array(
        [
            runs.place(clock.Stamp(int(stream), time_s, time_s, time_s + 0.02), leaves=place in leaves)
            for place, (stream, time_s) in enumerate(zip(of_stream, found, strict=True))
        ]
    )
    late = of_part == 1
    inner = [placed[late & (of_stream == stream)][60:] for stream in (0, 1)]
    assert len(np.unique(np.concatenate(inner))) == 1


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
