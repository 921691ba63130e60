"""Offset and probability of single windows and seconds."""

from dataclasses import replace

import numpy as np
import pytest
from scores_factory import made

from avsync.estimate.calibration import Calibration
from avsync.estimate.moments import moments


def test_a_window_and_a_second_say_which_offset_is_likeliest() -> None:
    scores = made(100, 3.0, height=8.0, silent=0.0)
    windows, seconds = moments(scores, Calibration(), None), moments(scores, Calibration())
    assert len(windows.times_s) == 100
    np.testing.assert_allclose(seconds.times_s, [0, 1, 2, 3])
    np.testing.assert_allclose(seconds.offset_ms, -120.0, atol=2)
    assert seconds.probability.min() > 0.9
    assert windows.probability.mean() < seconds.probability.mean()


def test_without_evidence_the_probability_is_that_of_a_guess() -> None:
    flat = replace(made(50), logits=np.zeros((50, 31), np.float32))
    assert moments(flat, Calibration()).probability == pytest.approx([2 / 31, 2 / 31], abs=0.04)


def test_the_bias_is_subtracted_and_missing_windows_are_left_out() -> None:
    scores = made(100, height=8.0, silent=0.0)
    logits = scores.logits.copy()
    logits[25:50] = np.nan
    found = moments(replace(scores, logits=logits), Calibration(bias_ms=5.0))
    np.testing.assert_allclose(found.times_s, [0, 2, 3])
    np.testing.assert_allclose(found.offset_ms, -5.0, atol=2)
    assert len(moments(replace(scores, logits=np.full_like(logits, np.nan)), Calibration()).times_s) == 0


def test_probabilities_of_windows_mean_what_they_say_when_the_logits_do() -> None:
    rng = np.random.default_rng(0)
    scores = made(20_000, height=0)
    true = rng.integers(3, 28, 20_000)
    logits = rng.normal(size=(20_000, 31))
    logits[np.arange(20_000), true] += 2.0  # of unit noise: the log-likelihood ratio is 2 x - 2
    found = moments(replace(scores, logits=(2 * logits).astype(np.float32)), Calibration(1.0, 0.0), None)
    right = np.abs(found.offset_ms + 40 * scores.shifts[true]) <= 60
    assert found.probability.mean() == pytest.approx(right.mean(), abs=0.02)


def test_an_offset_between_two_candidates_lies_between_them() -> None:
    scores = made(100, height=8.0, silent=0.0)
    middle = int(np.flatnonzero(scores.shifts == 0)[0])
    logits = np.zeros_like(scores.logits)
    logits[:, middle : middle + 2] = 8.0
    found = moments(replace(scores, logits=logits), Calibration())
    np.testing.assert_allclose(found.offset_ms, -20.0, atol=0.5)


@pytest.mark.parametrize("stride", [1, 5])
def test_a_short_rest_at_the_end_counts_to_the_second_before(stride: int) -> None:
    for windows, count in ((100, 4), (110, 4), (115, 5), (125, 5), (5, 1)):
        scores = made(windows, height=8.0, silent=0.0)
        scores = replace(scores, times_s=scores.times_s[::stride], logits=scores.logits[::stride])
        assert len(moments(scores, Calibration()).times_s) == count


def test_half_a_second_is_less_sure_than_a_whole_one() -> None:
    scores = made(115, height=1.0, silent=0.0)
    rows = np.tile(scores.logits.mean(axis=0), (115, 1))
    found = moments(replace(scores, logits=rows.astype(np.float32)), Calibration())
    assert found.probability[-1] < found.probability[0] - 0.05
