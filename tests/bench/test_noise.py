"""Noise and music under speech are made by code, at a known level, the same for the same seed."""

from collections.abc import Callable

import numpy as np
import pytest

from avsync.bench.noise import RATE_HZ, Samples, music, pink_noise

MAKERS = [pink_noise, music]


@pytest.mark.parametrize("make", MAKERS)
def test_power_is_one_and_the_seed_decides(make: Callable[[float, int], Samples]) -> None:
    audio = make(1.5, 3)
    assert len(audio) == 1.5 * RATE_HZ
    assert np.mean(audio**2) == pytest.approx(1, rel=1e-3)
    assert np.array_equal(audio, make(1.5, 3))
    assert not np.array_equal(audio, make(1.5, 4))


def test_pink_noise_has_as_much_power_in_each_octave() -> None:
    power = np.abs(np.fft.rfft(pink_noise(4.0, 0))) ** 2
    pitch = np.fft.rfftfreq(4 * RATE_HZ, 1 / RATE_HZ)
    octaves = [power[(pitch >= low) & (pitch < 2 * low)].sum() for low in (100, 400, 1600, 6400)]
    assert max(octaves) / min(octaves) < 1.3
    assert power[pitch < 10].sum() < 1e-6 * power.sum()


def test_music_is_tones_and_beats() -> None:
    audio = music(4.0, 0)
    power = np.abs(np.fft.rfft(audio)) ** 2
    assert np.sort(power)[-200:].sum() > 0.3 * power.sum()
    loud = np.sqrt(np.mean(audio.reshape(-1, RATE_HZ // 20) ** 2, axis=1))
    assert loud.max() > 1.5 * np.median(loud)
