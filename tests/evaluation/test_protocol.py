"""The published evaluation protocol, against its fixture and by its definition."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeded import REFERENCE

from avsync.evaluation.protocol import FRAMES_K, protocol_accuracy, protocol_average, protocol_hits


@pytest.mark.parametrize("frames_k", FRAMES_K)
def test_meets_the_reference(frames_k):
    expected = json.loads((REFERENCE / "eval_seed11.json").read_text())
    masked = np.load(REFERENCE / "eval_seed11.npz")["masked"]
    assert protocol_accuracy([masked], frames_k) == pytest.approx(expected[str(frames_k)], abs=1e-12)


def test_nan_counts_as_a_candidate_outside_the_clip():
    masked = np.load(REFERENCE / "eval_seed11.npz")["masked"]
    with_nan = np.where(masked == -1000, np.nan, masked)
    for frames_k in FRAMES_K:
        np.testing.assert_array_equal(protocol_hits(with_nan, frames_k), protocol_hits(masked, frames_k))


@given(n=st.integers(1, 30), frames_k=st.sampled_from(FRAMES_K), seed=st.integers(0, 99))
def test_averages_the_neighbouring_rows_one_sided_near_the_ends(n, frames_k, seed):
    logits = np.random.default_rng(seed).normal(size=(n, 31))
    half = (frames_k - 5) // 2
    expected = [logits[max(0, t - half) : t + half + 1].mean(axis=0) for t in range(n)]
    np.testing.assert_allclose(protocol_average(logits, frames_k), expected, atol=1e-9)


def test_a_window_is_right_within_one_frame():
    logits = np.zeros((4, 31))
    logits[np.arange(4), [15, 14, 16, 17]] = 1
    assert protocol_hits(logits, 5).tolist() == [True, True, True, False]


def test_a_short_clip_weighs_as_much_as_a_long_one():
    right, wrong = np.zeros((2, 31)), np.zeros((8, 31))
    right[:, 15] = wrong[:, 0] = 1
    assert protocol_accuracy([right, wrong], 5) == 0.5


def test_a_clip_without_windows_does_not_count():
    right = np.zeros((2, 31))
    right[:, 15] = 1
    assert protocol_accuracy([np.empty((0, 31)), right], 7) == 1
    with pytest.raises(ValueError, match="no clip"):
        protocol_accuracy([np.empty((0, 31))], 7)


@pytest.mark.parametrize("frames_k", [3, 6, 0])
def test_refuses_an_input_length_that_the_protocol_does_not_have(frames_k):
    with pytest.raises(ValueError, match="frames_k"):
        protocol_average(np.zeros((3, 31)), frames_k)
