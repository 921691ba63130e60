"""Time codes against OpenTimelineIO's own, which are an independent implementation."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentimelineio import opentime

from avsync.core.timecode import RATES, Timebase, frame_at, label, standard_rate, timebase, timecode_at

NTSC = Fraction(30000, 1001)
LABELLED = [rate for rate in RATES if rate < 61 and rate not in (48, Fraction(48000, 1001))]
"""Those that OpenTimelineIO labels."""


@pytest.mark.parametrize(
    ("fps", "start", "time_s", "written"),
    [
        (Fraction(25), None, 0.0, "00:00:00:00"),
        (Fraction(25), "10:00:00:00", 61.2, "10:01:01:05"),
        (NTSC, "01:00:00;00", 0.0, "01:00:00;00"),
        (NTSC, "00:00:59;29", 1001 / 30000, "00:01:00;02"),
        (NTSC, "00:09:59;29", 1001 / 30000, "00:10:00;00"),
        (NTSC, "00:00:59:29", 1001 / 30000, "00:01:00:00"),
        (2 * NTSC, "00:00:59;59", 1001 / 60000, "00:01:00;04"),
        (Fraction(25), "23:59:59:24", 0.04, "00:00:00:00"),
        (Fraction(24000, 1001), "01:00:00:00", 3600.0, "01:59:56:10"),
        (Fraction(120), None, 0.5, "00:00:00:060"),
    ],
)
def test_the_label_of_a_moment(fps: Fraction, start: str | None, time_s: float, written: str):
    assert timecode_at(timebase(fps, 0.0, start), time_s) == written


@given(
    rate=st.sampled_from(LABELLED),
    drop=st.booleans(),
    start=st.integers(0, 2_000_000),
    frame=st.integers(0, 3_000_000),
)
def test_labels_are_those_of_opentimelineio(rate: Fraction, drop: bool, start: int, frame: int):
    drop = drop and rate.denominator == 1001 and round(rate) % 30 == 0
    base = Timebase(rate, 0.0, start, drop)
    day = 86_400 * base.nominal
    count = (start + frame) % (day - (base.nominal // 15 * 1296 if drop else 0))
    other = opentime.to_timecode(opentime.RationalTime(count, float(rate)), float(rate), drop_frame=drop)
    assert label(base, frame) == other


@given(rate=st.sampled_from(RATES), drop=st.booleans(), start=st.integers(0, 2_000_000))
def test_a_label_that_was_written_is_read_as_it_was(rate: Fraction, drop: bool, start: int):
    drop = drop and rate.denominator == 1001 and round(rate) % 30 == 0
    written = label(Timebase(rate, 0.0, start, drop), 0)
    assert label(timebase(rate, 0.0, written), 0) == written


def test_frames_count_from_the_first_frame_of_the_file():
    base = timebase(Fraction(25), 1.4)
    assert frame_at(base, 1.4) == 0
    assert frame_at(base, 2.4) == 25
    assert frame_at(base, 0.0) == 0


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (Fraction(2997, 100), NTSC),
        (Fraction(29_830, 1000), NTSC),
        (Fraction(23_976, 1000), Fraction(24000, 1001)),
        (Fraction(25), Fraction(25)),
        (Fraction(15), Fraction(15)),
        (Fraction(25, 2), Fraction(12)),
        (Fraction(1, 5), Fraction(1)),
    ],
)
def test_a_stored_rate_is_taken_for_the_one_that_is_meant(stored: Fraction, meant: Fraction):
    assert standard_rate(stored) == meant


@pytest.mark.parametrize("nonsense", ["", "25:00:00:00", "01:00:00:25", "noon", "00:00:00:99", "1:2:3:4"])
def test_a_start_that_is_not_a_time_code_counts_as_none(nonsense: str):
    assert timebase(Fraction(25), 0.0, nonsense) == Timebase(Fraction(25))
