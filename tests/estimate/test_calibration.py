"""Constants of a checkpoint: log-likelihood ratios, the logistic fit, and how honest a probability is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.estimate.calibration import (
    FEATURES,
    Calibration,
    calibration_error_by_chance,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    log_ratios,
    probability,
    reliability_table,
)


def test_survives_a_round_trip_through_plain_numbers():
    c = Calibration(temperature=2.5, weights=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), mismatch_level=0.2)
    assert Calibration.from_dict(c.to_dict()) == c
    assert Calibration.from_dict({"bias_ms": 4}) == Calibration(bias_ms=4)


def test_a_card_from_before_a_feature_was_added_gives_it_no_weight():
    old = Calibration.from_dict({"weights": [-3.0, 1.5, 0.7, 0.2]})
    assert old.weights == (-3.0, 1.5, 0.7, 0.2, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "bad", [{"temprature": 1.0}, {"temperature": "2"}, {"weights": [1.0]}, {"spread": None}]
)
def test_refuses_entries_it_does_not_know(bad):
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_dict(bad)


def test_the_fit_recovers_the_weights_that_made_the_answers():
    rng = np.random.default_rng(0)
    made = Calibration(weights=(-1.0, 1.5, 0.0, -0.8, 0.6, 0.3, -0.4, 0.2))
    x = rng.normal(size=(20_000, len(FEATURES)))
    correct = rng.random(len(x)) < probability(x, made)
    fitted = fit_calibration(x, correct)
    np.testing.assert_allclose(fitted.weights, made.weights, atol=0.1)
    assert expected_calibration_error(probability(x, fitted), correct) < 0.02


def test_the_fit_stays_finite_when_features_separate_the_answers():
    x = np.zeros((40, len(FEATURES)))
    x[20:, 0] = 1
    fitted = fit_calibration(x, np.arange(40) >= 20)
    assert np.isfinite(fitted.weights).all()
    p = probability(x, fitted)
    assert p[0] < 0.1
    assert p[-1] > 0.9


def test_the_fit_keeps_everything_but_the_weights():
    base = Calibration(temperature=7.0)
    fitted = fit_calibration(np.zeros((4, len(FEATURES))), [True, True, True, False], base)
    assert fitted.temperature == 7.0
    assert probability(np.zeros(len(FEATURES)), fitted) == pytest.approx(0.75, abs=1e-3)


def test_the_temperature_of_made_logits_is_found():
    rng = np.random.default_rng(1)
    logits = rng.gumbel(size=(2000, 31))  # argmax over Gumbel noise + a is a draw from softmax(a)
    strength = rng.normal(0, 2, (2000, 31))
    chosen = (strength + logits).argmax(axis=1)
    rolled = np.stack([np.roll(row, 15 - k) for row, k in zip(strength, chosen, strict=True)])
    fitted = fit_temperature([3 * rolled], [15])
    assert fitted.temperature == pytest.approx(3, rel=0.2)
    assert fitted.outlier < 0.1


@pytest.mark.slow
def test_the_temperature_is_that_of_all_windows_wherever_the_weak_ones_lie():
    rng = np.random.default_rng(2)
    clips = rng.normal(size=(5000, 8, 31))
    clips[:, 1:, 15] += 4
    first, last = (fit_temperature(list(each), [15] * 5000) for each in (clips, clips[:, ::-1]))
    assert first.temperature == pytest.approx(last.temperature, rel=0.1)
    assert first.outlier == pytest.approx(last.outlier, abs=0.03)


@given(seed=st.integers(0, 1000), constant=st.floats(-100, 100))
@settings(deadline=None)
def test_a_row_is_judged_by_its_differences_only(seed, constant):
    row = np.random.default_rng(seed).normal(size=(1, 31))
    np.testing.assert_allclose(log_ratios(row, 1, 0.2), log_ratios(row + constant, 1, 0.2), atol=1e-9)


def test_a_flat_row_says_nothing_and_a_wrong_one_is_bounded():
    assert log_ratios(np.full((1, 9), 7.0), 1, 0.2) == pytest.approx(np.zeros((1, 9)))
    wrong = np.zeros((1, 9))
    wrong[0, 3] = 1000
    assert log_ratios(wrong, 1, 0.2).min() == pytest.approx(np.log(0.2))


def test_missing_candidates_stay_missing_and_a_lone_one_says_nothing():
    rows = np.array([[np.nan, 0.0, 1.0], [np.nan, 5.0, np.nan], [np.nan] * 3])
    ratios = log_ratios(rows, 1, 0.2)
    assert np.isnan(ratios).tolist() == [[True, False, False], [True] * 3, [True] * 3]


def test_calibration_error_by_hand():
    p, y = [0.95, 0.95, 0.15, 0.15], [True, False, False, False]
    assert reliability_table(p, y) == [(0.15, 0.0, 2), (0.95, 0.5, 2)]
    assert expected_calibration_error(p, y) == pytest.approx((0.15 + 0.45) / 2)
    assert expected_calibration_error([1.0], [True]) == 0


def test_probabilities_that_are_right_seldom_err_more_than_chance_allows():
    rng = np.random.default_rng(0)
    p = rng.random(200)
    allowed = calibration_error_by_chance(p)
    errors = np.array([expected_calibration_error(p, rng.random(200) < p) for _ in range(300)])
    assert 0.01 < np.mean(errors > allowed) < 0.1
    assert expected_calibration_error(p, rng.random(200) < p**3) > allowed


def test_chance_allows_less_error_to_more_answers():
    few, many = (calibration_error_by_chance(np.full(n, 0.8)) for n in (50, 2000))
    assert many < few / 3
