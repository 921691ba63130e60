"""The calibration is fitted on pieces whose true offset is known, and on swapped audio."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from avsync.core.constants import MIN_PROBABILITY
from avsync.core.records import Scores
from avsync.data.labels import Recorded
from avsync.data.shards import ShardWriter, Store, StoredClip
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import near
from avsync.estimate.peak import least_fit, peculiarity
from avsync.estimate.speakers import summed
from avsync.evaluation.calibrate import (
    by_language,
    calibrate,
    held_out_quality,
    make_cases,
    quality,
    stranger,
    write_card,
)
from avsync.evaluation.fitting import Case, fit, measured_cases
from avsync.networks.base import Preprocessing
from avsync.networks.checkpoint import load, save
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)
SHIFTS = np.arange(-15, 16)


def made_cases(count: int, seed: int = 0) -> list[Case]:
    """Score matrices with a bell of varying strength at the true offset; every fourth has none."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        truth = None if i % 4 == 3 else float(rng.uniform(-400, 400))
        windows = int(rng.integers(20, 200))
        strength = rng.uniform(0.3, 4)
        noise = rng.standard_normal((windows + 4, 31))
        logits = np.sum([noise[k : k + windows] for k in range(5)], axis=0) / 5**0.5
        if truth is not None:
            logits = logits + strength * np.exp(-((SHIFTS + truth / 40) ** 2) / 2)
        times = np.arange(windows) / 25
        cases.append(Case(str(i), Scores(0, times, SHIFTS, logits.astype(np.float32)), truth))
    return cases


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit(made_cases(200))


def test_the_fitted_probability_means_what_it_says_on_new_cases(fitted: Calibration) -> None:
    figures = quality(made_cases(200, seed=1), fitted)
    assert figures["expected_calibration_error"] < 0.06  # type: ignore[operator]
    assert figures["answered_right"] > 0.9  # type: ignore[operator]
    assert figures["swapped_answered"] < 0.1  # type: ignore[operator]
    assert figures["interval_holds"] > 0.85  # type: ignore[operator]
    assert figures["long_swapped_below_level"] > 0.3  # type: ignore[operator]
    assert figures["long_matched_below_level"] < 0.1  # type: ignore[operator]


def test_the_intervals_of_shares_know_that_a_speaker_is_answered_alike(fitted: Calibration) -> None:
    cases = made_cases(200)
    each = quality(cases, fitted)
    low, high = each["matched_answered_interval"]  # type: ignore[misc]
    assert low < each["matched_answered"] < high < low + 0.2  # type: ignore[operator]
    measured = enumerate(measured_cases(cases, fitted))
    two = [replace(c, id=f"{m.probability >= MIN_PROBABILITY}/{i}") for i, (m, c) in measured]
    assert quality(two, fitted)["matched_answered_interval"] == [0.0, 1.0]
    foreign = [c for c in cases if c.truth_ms is None]
    never = quality(cases, replace(fitted, weights=(-50.0, *fitted.weights[1:])))
    assert never["swapped_answered"] == 0.0
    assert never["swapped_answered_interval"] == [
        0.0,
        pytest.approx(1.96**2 / (len(foreign) + 1.96**2), abs=1e-3),
    ]


@pytest.mark.slow
def test_support_for_an_offset_lies_above_its_contradiction() -> None:
    calibration = fit(made_cases(400))
    assert calibration.support >= 1.0
    assert calibration.contradiction < 0
    # Someone else's speech hardly ever supports an offset, and matching lips hardly ever contradict it.
    said, foreign = [], []
    for case in (c for c in made_cases(400, seed=1) if len(c.scores.times_s) >= 75):
        windows = np.arange(75)
        total = summed(case.scores, windows, calibration)
        there = near(total, SHIFTS, (case.truth_ms or 0.0) + calibration.bias_ms)
        (foreign if case.truth_ms is None else said).append(there)
    assert np.mean(np.array(foreign) >= calibration.support) < 0.06
    assert np.mean(np.array(foreign) <= 3 * calibration.contradiction) > 0.4
    assert np.mean(np.array(said) <= 3 * calibration.contradiction) < 0.06


def test_with_few_cases_the_thresholds_stay() -> None:
    few = fit(made_cases(40))
    assert (few.support, few.contradiction) == (Calibration.support, Calibration.contradiction)
    assert (few.fit, few.brief_fit, few.peculiar) == (
        Calibration.fit,
        Calibration.brief_fit,
        Calibration.peculiar,
    )


@pytest.mark.slow
def test_someone_elses_speech_hardly_ever_has_an_offset_of_its_own() -> None:
    calibration = fit(made_cases(400))
    for seconds in (2.0, 3.0):
        foreign, said = [], []
        for case in (c for c in made_cases(400, seed=1) if len(c.scores.times_s) >= 25 * seconds):
            total = summed(case.scores, np.arange(round(25 * seconds)), calibration)
            fits = total[1:-1].max() >= least_fit(seconds, calibration)
            stands_out = peculiarity(total, int(total.argmax()), seconds) >= calibration.peculiar
            (foreign if case.truth_ms is None else said).append((fits, stands_out))
        assert (np.mean(foreign, axis=0) < 0.08).all()
        assert (np.mean(said, axis=0) > 0.7).all()


@pytest.mark.slow
def test_no_answer_is_surer_than_the_clearest_are_right() -> None:
    cases = made_cases(1000)
    assert fit(cases[:200]).ceiling == Calibration.ceiling
    clear = fit(cases)
    assert 0.985 < clear.ceiling < 1.0
    assert max(m.probability for m, _ in measured_cases(cases, clear)) == clear.ceiling
    wrong = [
        replace(c, truth_ms=None if c.truth_ms is None else c.truth_ms + 200.0 * (i % 80 == 0))
        for i, c in enumerate(cases)
    ]
    assert fit(wrong).ceiling < clear.ceiling - 0.005


def test_a_constant_bias_of_the_model_is_taken_out() -> None:
    cases = [Case(c.id, c.scores, None if c.truth_ms is None else c.truth_ms - 12.0) for c in made_cases(200)]
    assert fit(cases).bias_ms == pytest.approx(12.0, abs=3.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    writer = ShardWriter(tmp_path, 0)
    for name in ("aa01/1", "bb02/1"):
        images = rng.integers(0, 256, (60, 68, 116, 3), np.uint8)
        wave = rng.integers(-3000, 3000, 60 * 640).astype(np.int16)
        writer.add(StoredClip(name, "val", name, "", 60, len(wave), 25.0), [images], wave)
    writer.close()
    return Store(tmp_path, ["val"])


def test_every_fourth_case_has_the_audio_of_another_clip(store: Store, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    cases = make_cases(loaded, store, {"aa": 20.0}, 8, stride=5)
    assert [c.truth_ms is None for c in cases] == [False, False, False, True] * 2
    assert all(c.scores.logits.shape[1] == 31 for c in cases)
    again = make_cases(loaded, store, {"aa": 20.0}, 8, stride=5)
    assert [c.truth_ms for c in again] == [c.truth_ms for c in cases]


def test_cases_may_all_match_or_all_be_swapped_and_be_short(store: Store, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    matching = make_cases(loaded, store, {}, 6, stride=5, swapped_every=0)
    assert [c.truth_ms is None for c in matching] == [False] * 6
    swapped = make_cases(loaded, store, {}, 6, stride=5, swapped_every=1, longest_s=1.5)
    assert [c.truth_ms is None for c in swapped] == [True] * 6
    assert (
        max(np.ptp(c.scores.times_s) for c in swapped) < 1.5 < max(np.ptp(c.scores.times_s) for c in matching)
    )


def test_the_card_keeps_what_it_said_and_gains_the_calibration(tmp_path: Path) -> None:
    path = save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing(), {"licence": "MIT"})
    cases = made_cases(80)
    calibration = fit(cases)
    write_card(path, calibration, quality(cases, calibration))
    card = yaml.safe_load(path.with_suffix(".yaml").read_text())
    assert card["licence"] == "MIT"
    assert card["calibration"] == calibration.to_dict()
    assert load(path, "cpu").calibration == calibration.to_dict()


def test_languages_have_figures_of_their_own(fitted: Calibration) -> None:
    cases = made_cases(200)
    recorded = {c.id: Recorded("one", "Turkish" if int(c.id) < 120 else "Welsh") for c in cases[:150]}
    named = [replace(c, id=c.id if c.id in recorded else f"ar{c.id}") for c in cases]
    rows = by_language(named, fitted, recorded)["by_language"]
    assert {name: row["cases"] for name, row in rows.items()} == {"Turkish": 120, "ar": 50}  # 30 are too few
    assert rows["Turkish"]["matched_answered"] == quality(cases[:120], fitted)["matched_answered"]
    assert by_language(named, fitted, {}) == {}


def test_one_half_of_the_speakers_judges_the_fit_of_the_other() -> None:
    cases = [replace(c, id=f"aa{i % 19:02}/{i}") for i, c in enumerate(made_cases(120))]
    figures = held_out_quality(cases)
    assert figures["expected_calibration_error"] < 0.1
    assert figures["answered_right"] > 0.9
    assert figures["swapped_answered"] < 0.1


def test_the_card_gets_the_calibration(store: Store, tmp_path: Path) -> None:
    dims = replace(TINY, layers=0, contrast=8)
    path = save(tmp_path / "tiny", VocaLiST(dims).eval(), Preprocessing())
    assert len(store) == 2
    calibrate(path, tmp_path, count=16)
    assert load(path, "cpu").info["calibration_quality"]["cases"] == 16


def test_a_calibration_can_be_measured_and_kept(store: Store, tmp_path: Path) -> None:
    path = save(tmp_path / "tiny", VocaLiST(replace(TINY, layers=0, contrast=8)).eval(), Preprocessing())
    assert len(store) == 2
    before = path.with_suffix(".yaml").read_bytes()
    assert calibrate(path, tmp_path, count=12, keep=True)["cases"] == 12
    assert path.with_suffix(".yaml").read_bytes() == before


@pytest.mark.parametrize("frames", [30, 60, 500])
def test_a_strangers_audio_lasts_as_long_as_the_piece_where_one_does(frames: int, tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 0)
    for name, length in (("aa01/1", 500), ("bb02/1", 20), ("cc03/1", 60)):
        images, wave = np.zeros((length, 68, 116, 3), np.uint8), np.zeros(length * 640, np.int16)
        writer.add(StoredClip(name, "val", name, "", length, len(wave), 25.0), [images], wave)
    writer.close()
    store = Store(tmp_path, ["val"])
    speaking = next(n for n, clip in enumerate(store.clips) if clip.id == "aa01/1")
    chosen = {store.clips[stranger(store, speaking, frames, np.random.default_rng(s))].id for s in range(20)}
    assert chosen == {"cc03/1"}  # the longest, where none lasts as long
