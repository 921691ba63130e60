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
    np.testing.assert_allclose(seconds.offset_ms, -120.0)
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
    np.testing.assert_allclose(found.offset_ms, -5.0)
    assert len(moments(replace(scores, logits=np.full_like(logits, np.nan)), Calibration()).times_s) == 0


def test_probabilities_of_windows_mean_what_they_say_when_the_logits_do() -> None:
    rng = np.random.default_rng(0)
    scores = made(20_000, height=0)
    true = rng.integers(3, 28, 20_000)
    logits = rng.normal(size=(20_000, 31))
    logits[np.arange(20_000), true] += 2.0  # of unit noise: the log-likelihood ratio is 2 x - 2
    found = moments(replace(scores, logits=(2 * logits).astype(np.float32)), Calibration(1.0, 0.0), None)
    right = np.abs(found.offset_ms + 40 * scores.shifts[true]) <= 40
    assert found.probability.mean() == pytest.approx(right.mean(), abs=0.02)
