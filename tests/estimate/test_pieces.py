"""What a stretch needs to have an offset of its own."""

import numpy as np
import pytest

from avsync.estimate.calibration import Calibration
from avsync.estimate.paths import Blocks
from avsync.estimate.pieces import CLEAR_RIVAL, fits, with_own_shots

COLUMN = 21
AGAINST = 2 * Calibration().contradiction
"""Nats of a second that contradicts an offset, by itself."""


def stretch(first: float, second: float) -> Blocks:
    """Four seconds that say so much, in nats a second, for an offset and its neighbours, each half its own;
    nothing for others."""
    values = np.full((4, 31), 1e-9)
    values[:2, COLUMN - 1 : COLUMN + 2] = first
    values[2:, COLUMN - 1 : COLUMN + 2] = second
    return Blocks(np.arange(4.0), values, np.arange(4), np.zeros(4, bool), np.ones(4))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(3.0, 1.0, True, id="both halves say it"),
        pytest.param(4.0, 0.0, True, id="a half says nothing"),
        pytest.param(5.0, AGAINST, False, id="a half contradicts it"),
        pytest.param(
            Calibration().peculiar + 1 - AGAINST,
            AGAINST,
            True,
            id="a half contradicts it, and yet it is peculiar",
        ),
        pytest.param(0.1, 0.1, False, id="too little"),
    ],
)
def test_no_half_may_contradict_an_offset_unless_it_stands_out_from_all_others(
    first: float, second: float, expected: bool
) -> None:
    assert fits(stretch(first, second), np.arange(4), COLUMN, Calibration()) is expected


@pytest.mark.parametrize(("beside", "moves"), [(CLEAR_RIVAL, False), (0.0, True)])
def test_a_shot_is_moved_only_where_its_offset_is_likelier_than_all_within_a_frame_of_the_files(
    beside: float, moves: bool
) -> None:
    """Which is known to a frame or so: what the column beside it has speaks for the file as well."""
    values = np.zeros((4, 31))
    values[:, 15], values[:, 16], values[:, COLUMN] = -4.0, beside, CLEAR_RIVAL
    blocks = Blocks(np.arange(4.0), values, np.arange(4), np.zeros(4, bool), np.ones(4))
    path = with_own_shots(blocks, np.full(4, 15), 15, Calibration())
    assert (path == COLUMN).all() == moves
