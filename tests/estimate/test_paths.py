"""The likeliest line and path through made likelihoods; test_offset has made scores."""

import numpy as np
import pytest

from avsync.core.constants import FRAME_MS
from avsync.estimate.calibration import Calibration
from avsync.estimate.paths import (
    Blocks,
    best_line,
    best_path,
    bias_of_slope,
    block_likelihoods,
    likeliest_path,
)
from avsync.estimate.peak import Evidence

COLUMNS = 41


def along(columns: np.ndarray, height: float = 3.0) -> np.ndarray:
    """(n_blocks, COLUMNS) log-likelihoods that peak at these columns."""
    return -height * np.minimum(1.0, ((np.arange(COLUMNS) - columns[:, None]) / 4) ** 2)


def test_a_step_is_taken_where_it_gains_more_than_it_costs():
    way = np.repeat([10, 30], 30)
    assert best_path(along(way), 5.0, None)[0].tolist() == way.tolist()
    assert len(set(best_path(along(way), 200.0, None)[0].tolist())) == 1


def test_the_way_back_to_the_base_is_cheaper():
    way = np.repeat([10, 30, 10], 20)
    path, base, value = likeliest_path(along(way), 5.0)
    assert (path.tolist(), base) == (way.tolist(), 10)
    assert value == pytest.approx(-5.0 - 2 * np.log(60))


def test_a_drift_is_a_line_with_its_slope():
    times = np.arange(60.0)
    blocks = Blocks(times, along(np.linspace(15, 25, 60)), np.arange(60), np.zeros(60, bool), np.ones(60))
    slope, error, value, level = best_line(blocks, 20)
    assert slope == pytest.approx(-10 * FRAME_MS / 59, rel=0.05)
    assert 0 < error < abs(slope)
    assert value > level


@pytest.mark.parametrize(("windows", "cuts"), [(50, []), (75, [1.3]), (300, [2.5, 7.7])])
def test_blocks_hold_as_many_seconds_and_observations_as_their_windows(windows: int, cuts: list[float]):
    """However they are cut: what lies on an edge counts once."""
    rows = np.tile(along(np.full(1, 20.0)), (windows, 1))
    times = np.arange(windows) / 25
    found = Evidence(
        rows, rows.astype(np.float32), times, np.arange(-15, 16), np.ones(windows), np.array(cuts)
    )
    blocks = block_likelihoods(found, Calibration(dependence_s=0.4))
    assert blocks.seconds.sum() == pytest.approx(windows / 25, abs=0.4)
    np.testing.assert_allclose(blocks.values.sum(axis=0), rows[0] * blocks.seconds.sum() / 0.4)


def test_faces_seen_at_one_moment_have_no_line():
    blocks = Blocks(np.zeros(9), along(np.full(9, 20.0)), np.arange(9), np.zeros(9, bool), np.ones(9))
    assert best_line(blocks, 20) == (0.0, np.inf, -np.inf, -np.inf)


def test_too_short_a_video_has_no_line():
    blocks = Blocks(np.arange(5.0), along(np.full(5, 20.0)), np.arange(5), np.zeros(5, bool), np.ones(5))
    assert best_line(blocks, 20) == (0.0, np.inf, -np.inf, -np.inf)


def test_a_jump_is_put_where_a_shot_begins_unless_the_evidence_is_clear():
    values = along(np.repeat([20.0, 24.0], [30, 30]))
    values[30] = 0  # which of the two offsets holds here is not known
    cut = np.arange(60) == 31
    assert np.flatnonzero(np.diff(best_path(values, 5.0, None, cut)[0])).tolist() == [30]
    far = np.arange(60) == 50
    assert np.flatnonzero(np.diff(best_path(values, 5.0, None, far)[0])).tolist()[0] in (29, 30)


def test_each_shot_and_each_part_of_a_long_one_may_be_off_by_itself_which_tilts_a_line():
    times = np.arange(0.5, 60)
    values = np.zeros((60, 31))
    values[:, 15] = 3.0

    def shots(number: int) -> Blocks:
        cut = np.zeros(60, bool)
        cut[np.arange(1, number) * 60 // number] = True
        return Blocks(times, values, np.arange(60), cut, np.ones(60))

    def tilt(number: int) -> float:
        return 60 * bias_of_slope(shots(number), 20.0)

    assert tilt(1) == tilt(6)
    # The spread of the slope of a line through these points with an error of 20 ms each.
    places = np.array([7.5, 22.5, 37.5, 52.5]) - 30
    assert tilt(4) == pytest.approx(60 * 20 / np.sqrt((places**2).sum()), rel=0.1)
    assert tilt(20) < tilt(4) / 2 + 1


def test_the_slope_of_a_single_short_shot_is_not_free_of_what_a_face_is_off_by_itself():
    values = np.zeros((12, 31))
    values[:, 15] = 3.0
    shot = Blocks(np.arange(0.5, 12), values, np.arange(12), np.zeros(12, bool), np.ones(12))
    assert 60 * bias_of_slope(shot, 20.0) == pytest.approx(60 * 20 * np.sqrt(2) * 18 / 143, rel=0.01)
