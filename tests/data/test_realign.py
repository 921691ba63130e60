"""Recordings of unknown synchrony are measured as one, and listeners are left out."""

import numpy as np
import pytest

from avsync.core.records import Scores
from avsync.data.realign import RADIUS, delays_ms, judge_recording, own_ms
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import estimate

SHIFTS = np.arange(-RADIUS, RADIUS + 1)


def clip(offset_ms: float | None, seed: int, windows: int = 80) -> Scores:
    logits = np.random.default_rng(seed).standard_normal((windows, len(SHIFTS)))
    if offset_ms is not None:
        logits += 3 * np.exp(-((SHIFTS + offset_ms / 40) ** 2) / 2)
    return Scores(0, np.arange(windows) / 5, SHIFTS, logits.astype(np.float32))


def test_clips_share_the_error_of_their_recording_and_a_listener_is_left_out() -> None:
    clips = [("te1/1", clip(-160, 0)), ("te1/2", clip(-165, 1)), ("te1/3", clip(None, 2))]
    recording = judge_recording("te1", clips, Calibration())
    assert recording.offset_ms == pytest.approx(-162, abs=6)
    assert recording.agreeing == ("te1/1", "te1/2")
    assert set(delays_ms([recording])) == {"te1/1", "te1/2"}
    assert delays_ms([recording])["te1/1"] == pytest.approx(-162, abs=6)
    assert delays_ms([recording], possible_ms=(-100.0, 60.0)) == {}


def test_a_recording_without_a_common_offset_is_rejected() -> None:
    clips = [(f"te2/{i}", clip(None, 10 + i)) for i in range(4)]
    recording = judge_recording("te2", clips, Calibration())
    assert recording.offset_ms is None
    assert delays_ms([recording]) == {}


def test_a_clip_by_itself_must_be_likely_and_near_what_is_usual() -> None:
    sure = estimate(clip(-60, 5), Calibration())
    assert sure.probability > 0.8
    assert own_ms(sure, usual_ms=-40.0) == pytest.approx(-60, abs=6)
    assert own_ms(sure, usual_ms=80.0) is None, "another person, or a wrong peak"
    assert own_ms(estimate(clip(None, 6), Calibration()), usual_ms=0.0) is None
