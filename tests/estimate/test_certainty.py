"""Near a limit a verdict is less sure than the offset that it rests on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.report import Fault, Offset, Reason, Segment
from avsync.estimate.certainty import settled, verdict_probability
from avsync.estimate.verdict import judge

EBU = (40.0, 60.0)


def answer(
    offset_ms: float, *segments: Segment, probability=0.98, uncertainty_ms=20.0, **drift: Any
) -> Offset:
    curve, shifts = np.zeros(31, np.float32), np.arange(-15, 16)
    return Offset(offset_ms, uncertainty_ms, probability, 9.0, False, shifts, curve, segments, **drift)


def sure(offset: Offset, *faults: Fault) -> float | None:
    judged = judge(offset, EBU)
    return verdict_probability(judged.verdict, offset, (*judged.faults, *faults), EBU, 20.0)


def test_at_a_limit_either_verdict_is_as_good_as_a_coin():
    assert sure(answer(40.0)) == pytest.approx(0.49, abs=0.01)
    assert sure(answer(40.1)) == pytest.approx(0.49, abs=0.01)
    assert sure(answer(-60.0)) == pytest.approx(0.49, abs=0.01)


def test_far_from_the_limits_the_verdict_is_as_sure_as_the_offset():
    assert sure(answer(0.0)) == pytest.approx(0.98, abs=0.001)
    assert sure(answer(200.0)) == pytest.approx(0.98, abs=0.001)
    assert sure(answer(200.0, probability=0.8)) == pytest.approx(0.8, abs=0.001)


def test_one_stretch_near_a_limit_makes_in_sync_less_sure():
    near = Segment(0.0, 5.0, 38.0, 20.0, 0.98, fault=True)
    assert sure(answer(0.0, near)) == pytest.approx(0.98 * 0.58, abs=0.01)


def test_out_of_sync_is_as_sure_as_its_clearest_defect():
    near, far = (Segment(0.0, 5.0, ms, 20.0, 0.9, fault=True) for ms in (70.0, 400.0))
    assert sure(answer(0.0, near, far)) == pytest.approx(0.9, abs=0.001)
    assert sure(answer(0.0, drift_ms_per_min=25.0, drift_uncertainty_ms_per_min=10.0)) == pytest.approx(
        0.98 * 0.84, abs=0.01
    )


def test_what_is_open_has_none():
    assert sure(answer(0.0, probability=0.5)) is None


@given(st.floats(-300, 300), st.floats(0.0, 100.0), st.floats(0.0, 1.0))
def test_it_is_a_probability_and_no_surer_than_the_offset(offset_ms, uncertainty_ms, probability):
    found = sure(answer(offset_ms, probability=probability, uncertainty_ms=uncertainty_ms))
    assert found is None or 0 <= found <= probability + 1e-9


# --- Limits that are narrower than the offset is known ------------------------------------------


def test_in_sync_is_not_told_where_it_is_likelier_wrong_than_right():
    narrow = (2.0, 2.0)
    judged = settled(judge(answer(0.5), narrow), answer(0.5), narrow)
    assert judged.verdict == "cannot-tell"
    limits = {"uncertainty_ms": 20.0, "early_ms": 2.0, "late_ms": 2.0}
    assert judged.reasons == (Reason("narrow-limits", limits),)


@given(st.floats(-60, 40), st.floats(0.0, 40.0), st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_whatever_the_limits_in_sync_is_at_least_an_even_chance(offset_ms, uncertainty_ms, early, late):
    found = answer(offset_ms, uncertainty_ms=uncertainty_ms)
    judged = settled(judge(found, (early, late)), found, (early, late))
    sure = verdict_probability(judged.verdict, found, judged.faults, (early, late), 20.0)
    assert judged.verdict != "in-sync" or (sure is not None and sure >= 0.5)


@given(st.floats(-59, 39), st.floats(0.0, 40.0))
def test_at_the_usual_limits_nothing_within_them_is_left_open(offset_ms, uncertainty_ms):
    found = answer(offset_ms, uncertainty_ms=uncertainty_ms)
    assert settled(judge(found, EBU), found, EBU).verdict == "in-sync"
