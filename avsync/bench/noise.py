"""Synthetic noise and music, to be mixed under speech."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000
Samples = npt.NDArray[np.float32]

BEAT_S = 0.5
CHORDS_HZ = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7), (164.8, 207.7, 246.9))
"""A minor, F, G, E: one per bar of four beats."""
LOWEST_HZ = 20.0


def pink_noise(seconds: float, seed: int) -> Samples:
    """Noise with equal power per octave above 20 Hz, RMS 1."""
    n = max(2, round(seconds * RATE_HZ))
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    pitch = np.fft.rfftfreq(n, 1 / RATE_HZ)
    spectrum[pitch < LOWEST_HZ] = 0
    return _unit(np.fft.irfft(spectrum / np.sqrt(np.maximum(pitch, LOWEST_HZ)), n))


def music(seconds: float, seed: int) -> Samples:
    """Plucked chords with a drum on every other beat, RMS 1; key and tempo depend on the seed."""
    rng = np.random.default_rng(seed)
    n = max(2, round(seconds * RATE_HZ))
    key, beat = 2 ** (rng.integers(-5, 6) / 12), round(BEAT_S * rng.uniform(0.8, 1.25) * RATE_HZ)
    audio = np.zeros(n + 4 * beat)
    t = np.arange(4 * beat) / RATE_HZ
    for number, start in enumerate(range(0, n, beat)):
        for note in CHORDS_HZ[number // 4 % len(CHORDS_HZ)]:
            audio[start : start + len(t)] += _pluck(note * key * rng.choice([1, 2]), t)
        if number % 2:
            hit = rng.standard_normal(len(t)) * np.exp(-t / 0.04)
            audio[start : start + len(t)] += 1.5 * hit
    return _unit(audio[:n])


def _pluck(note_hz: float, t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    overtones = (np.sin(2 * np.pi * k * note_hz * t) / k**1.5 * np.exp(-k * t / 0.6) for k in range(1, 7))
    return np.minimum(1, t / 0.005) * sum(overtones)


def _unit(audio: npt.NDArray[np.float64]) -> Samples:
    return (audio / np.sqrt(np.mean(audio**2))).astype(np.float32)
