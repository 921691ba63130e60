"""Made programmes hold the defects that they are said to hold, and the figures count them."""

import numpy as np
import pytest

from avsync.bench.programme_clips import Material, load, save
from avsync.bench.programmes import SHARES, Outcome, compose, judged, outcome, still, summarise
from avsync.estimate.calibration import Calibration


def a_clip(number: int, seconds: float = 8.0) -> Material:
    """A face and a voice that say the same random thing, told apart from others'; still in the last third."""
    rng = np.random.default_rng(number)
    frames = np.arange(round(seconds * 25))
    said = rng.normal(size=(2 * len(frames) + 2, 16)).astype(np.float32)
    said = said / np.linalg.norm(said, axis=1, keepdims=True) * 3.5
    motion = np.where(np.arange(len(frames)) < 2 * len(frames) // 3, 3.0, 0.3)
    audio_s = np.asarray(np.arange(len(said)) * 0.02, np.float64)
    return Material(
        f"s{number}/1", said[::2][: len(frames)], frames, said, audio_s, frames / 25.0, motion,
        np.arange(0.02, seconds, 0.032), np.ones(len(np.arange(0.02, seconds, 0.032)), np.float32), 0.0,
    )  # fmt: skip


CLIPS = [a_clip(number) for number in range(8)]
CALIBRATION = Calibration(temperature=1.0, outlier=0.1, mismatch_level=-0.1)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [outcome(p, judged(p, CALIBRATION)) for p in (compose(CLIPS, seed) for seed in range(12))]


def test_a_seed_always_makes_the_same_programme():
    one, other = compose(CLIPS, 3), compose(CLIPS, 3)
    assert (one.kind, one.duration_s, one.defects) == (other.kind, other.duration_s, other.defects)
    assert np.array_equal(one.looked.scores[0].logits, other.looked.scores[0].logits, equal_nan=True)


def test_programmes_of_clear_clips_are_judged_as_they_are_made(outcomes: list[Outcome]):
    assert {o.programme.kind for o in outcomes} <= set(SHARES)
    found = summarise(outcomes)
    assert found["programmes"] == 12
    assert found["false_alarms"] == 0
    assert found["false_in_sync"] is not None
    assert found["false_in_sync"] <= 0.2


def test_clips_come_back_from_their_cache(tmp_path):
    save(CLIPS[0], tmp_path / "clip.npz")
    again = load(tmp_path / "clip.npz")
    assert (again.name, again.delay_ms) == ("s0/1", 0.0)
    assert np.array_equal(again.visual, CLIPS[0].visual)


def test_a_listener_is_taken_from_where_the_mouth_is_still():
    first, length = still(CLIPS[0])
    assert first >= 2 * len(CLIPS[0].frames) // 3
    assert length > 40
