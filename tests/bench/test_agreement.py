"""Clips of one recording share one error, so their answers must agree; no truth is needed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.bench.agreement import agreement, length_label
from avsync.bench.clip_result import ClipResult, changes
from avsync.core.errors import UsageError
from avsync.core.records import Scores
from avsync.core.report import Segment
from avsync.data.labels import Recorded, read_recordings
from avsync.estimate.offset import estimate


def clip(
    name: str,
    offset_ms: float | None,
    probability: float = 0.9,
    seconds: float = 5.0,
    *,
    changing: bool = False,
) -> ClipResult:
    share = (0.5,) * 6
    return ClipResult(name, 100, share, share, offset_ms, probability, seconds, changing=changing)


RECORDED = {
    **{f"a/{i}": Recorded("one", "English") for i in range(4)},
    **{f"b/{i}": Recorded("two", "Turkish") for i in range(3)},
    "c/0": Recorded("three", "Turkish"),
}


def test_answers_are_compared_with_the_median_of_their_recording() -> None:
    results = [
        *[clip("a/0", -150), clip("a/1", -160), clip("a/2", -100), clip("a/3", 400, probability=0.3)],
        *[clip("b/0", 20), clip("b/1", None, 0.0), clip("b/2", 50, seconds=1.5)],
        clip("c/0", 70),
        clip("elsewhere/0", 0),
    ]
    found = agreement(results, RECORDED)
    assert found["all"] == {
        "clips": 8,
        "recordings": 3,
        "answered": 75.0,
        "changing": 0,
        "compared": 5,  # one that is the only one of its recording agrees with itself, and says nothing
        "agreeing": 80.0,  # a/2 is 50 ms from -150
        "spread_ms": 15.0,
    }
    assert found["by_language"]["Turkish"]["agreeing"] == 100.0
    assert list(found["by_length"]) == ["1-2 s", "4-10 s"]
    assert found["by_length"]["1-2 s"]["clips"] == 1


def test_a_clip_in_which_the_offset_changes_is_answered_and_compared_with_none() -> None:
    results = [clip("a/0", -150), clip("a/1", -150), clip("a/2", 300, changing=True)]
    results += [clip("b/0", 20), clip("b/1", 400, changing=True), clip("b/2", 400, 0.3, changing=True)]
    found = agreement(results, RECORDED)["all"]
    counts = [found[key] for key in ("clips", "changing", "compared", "agreeing")]
    assert counts == [6, 2, 2, 100.0]  # b/0 has none to be compared with
    assert found["answered"] == pytest.approx(83.3)


@pytest.mark.parametrize(
    ("drift", "offsets", "changing"),
    [
        (0.0, [40.0, 40.0], False),
        (None, [40.0, None, 40.0], False),  # a gap has no offset
        (None, [40.0, 240.0], True),
        (600.0, [40.0], True),
    ],
)
def test_an_offset_changes_where_it_drifts_or_jumps(
    drift: float | None, offsets: list[float | None], changing: bool
) -> None:
    parts = tuple(Segment(i, i + 1, offset, None, 0.9) for i, offset in enumerate(offsets))
    one = estimate(Scores(0, np.zeros(0), np.arange(-1, 2), np.zeros((0, 3), np.float32)))
    assert changes(replace(one, segments=parts, drift_ms_per_min=drift)) == changing


def test_without_languages_there_are_no_rows_by_language() -> None:
    recorded = {"a/0": Recorded("one"), "a/1": Recorded("one")}
    assert agreement([clip("a/0", 0), clip("a/1", 5)], recorded)["by_language"] is None


@given(st.lists(st.floats(-400, 400), min_size=2, max_size=9), st.floats(-400, 400))
def test_an_error_shared_by_a_whole_recording_changes_nothing(offsets: list[float], error: float) -> None:
    recorded = {f"a/{i}": Recorded("one") for i in range(len(offsets))}
    here = agreement([clip(f"a/{i}", o) for i, o in enumerate(offsets)], recorded)["all"]
    there = agreement([clip(f"a/{i}", o + error) for i, o in enumerate(offsets)], recorded)["all"]
    assert here["compared"] == there["compared"] == len(offsets)
    assert here["spread_ms"] == pytest.approx(there["spread_ms"], abs=0.11)


def test_lengths_have_one_label_each() -> None:
    assert [length_label(s) for s in (0.8, 1.0, 1.99, 2.0, 3.9, 4.0, 10.0, 300.0)] == [
        *["1-2 s"] * 3,
        *["2-4 s"] * 2,
        "4-10 s",
        *["10 s or more"] * 2,
    ]


def test_a_list_of_recordings_needs_its_columns(tmp_path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,recording,fps\na/0,one,25\n")
    assert read_recordings(path) == {"a/0": Recorded("one")}
    path.write_text("clip,recording\na/0,one\n")
    with pytest.raises(UsageError, match="columns id and recording"):
        read_recordings(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recordings(tmp_path / "none.csv")
