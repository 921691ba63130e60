"""One shift, whenever it brings every judged stretch within tolerance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.report import Segment
from avsync.core.tolerance import within
from avsync.estimate.repairable import LEAST_ROOM, single_shift

EBU = (40.0, 60.0)


def parts(*offsets_ms: float | None) -> list[Segment]:
    return [Segment(10.0 * i, 10.0 * i + 10, o, 9.0, 0.9) for i, o in enumerate(offsets_ms)]


def test_a_speaker_who_is_off_by_a_little_more_does_not_stand_in_the_way():
    found = single_shift(parts(-156, -203, None, -150), EBU, -156.0)
    assert found is not None
    assert found.offset_ms == -156
    assert [left.offset_ms for left in found.left] == [0, -47, 6]


def test_the_shift_gives_way_where_the_wanted_one_would_leave_too_much():
    found = single_shift(parts(0, 0, 70), EBU, 0.0)
    assert found is not None
    assert found.offset_ms == 30 + 9  # the limit, and what the offsets are uncertain by


def test_where_there_is_little_room_it_is_shared():
    found = single_shift(parts(0, 94), EBU, 0.0)
    assert found is not None
    assert [left.offset_ms for left in found.left] == [-57, 37]


def test_a_shift_that_is_as_likely_to_leave_a_stretch_outside_is_none():
    assert single_shift(parts(0, 95), EBU, 0.0) is not None
    assert single_shift(parts(0, 99), EBU, 0.0) is None


@given(st.floats(-500, 500), st.floats(0.01, 5), st.floats(0.01, 5))
def test_one_offset_is_moved_however_narrow_the_tolerance(offset_ms: float, early: float, late: float):
    found = single_shift(parts(offset_ms), (early, late), offset_ms)
    assert found is not None
    assert within(found.left[0].offset_ms, (early, late))


def test_where_no_shift_suits_all_there_is_none():
    assert single_shift(parts(0, 250), EBU, 0.0) is None
    assert single_shift(parts(0.0), EBU, 0.0, drift_ms_per_min=900.0) is None


@given(st.lists(st.floats(-500, 500), max_size=6), st.floats(-500, 500))
def test_what_is_left_is_within_tolerance(offsets: list[float], wanted: float):
    found = single_shift(parts(*offsets), EBU, wanted)
    if found is None:
        assert max(offsets) - min(offsets) > sum(EBU) - 2 * LEAST_ROOM * 9.0
    else:
        assert all(within(round(left.offset_ms, 6), EBU) for left in found.left)
        assert not offsets or min(offsets) - 60 <= found.offset_ms + 1e-6
    assert found is None or found.offset_ms == pytest.approx(wanted) or offsets
