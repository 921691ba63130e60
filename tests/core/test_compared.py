"""Records that hold arrays can be compared, put into sets and used as keys."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from report_factory import a_report, an_offset

from avsync.core.records import Clip, FaceTrack, Scores, Speech, Waveform
from avsync.core.report import Reason


def scores(logit: float = 1.0) -> Scores:
    return Scores(0, np.array([0.0, 0.04]), np.arange(-1, 2), np.array([[logit, 2, np.nan]] * 2, np.float32))


RECORDS = [
    a_report(),
    an_offset(),
    scores(),
    Reason("clock-jumps", {"jumps": 1, "at_s": [3.0]}),
    Waveform(np.zeros(4, np.float32), 0.5),
    Speech(0.0, 0.032, np.array([0.1, np.nan], np.float32)),
    Clip(2, 1.0, np.zeros((5, 48, 96, 3), np.uint8)),
    FaceTrack(0, 0, 0.0, np.zeros((2, 4), np.float32), np.ones(2, bool), 0.9),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_copy_is_equal_and_found_in_a_set(record: object):
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301 (its own)
    assert copy == record
    assert copy in {record}


def test_a_difference_in_any_number_counts():
    assert scores(1.0) != scores(1.001)
    assert replace(scores(), track=1) != scores()
    assert Clip(2, 1.0, np.zeros((5, 48, 96, 3), np.uint8)) != Clip(
        2, 1.0, np.zeros((6, 48, 96, 3), np.uint8)
    )
    assert a_report(offset_ms=119.0) != a_report()


def test_records_of_other_classes_are_not_equal():
    assert scores() != an_offset()
    assert scores() != "scores"


def test_two_checks_of_a_file_are_equal_however_long_they_took():
    assert replace(a_report(), timings_s={"total": 9.9}) == a_report()


floats = arrays(np.float32, st.integers(0, 4), elements=st.floats(width=32))


@given(floats, floats)
def test_what_is_equal_has_one_hash(one: np.ndarray, other: np.ndarray):
    first, second = Waveform(one, 0.0), Waveform(other, 0.0)
    assert (first == second) == np.array_equal(one, other, equal_nan=True)
    if first == second:
        assert hash(first) == hash(second)


@pytest.mark.parametrize("record", [a_report(), an_offset()])
def test_what_is_printed_of_a_report_is_short_and_has_no_arrays_or_images(record: object):
    words = repr(record)
    assert "array(" not in words
    assert "\\x" not in words
    assert len(words) < 3000
