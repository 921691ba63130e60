"""Made talking faces whose audio is early by a known amount at every moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.ndimage import gaussian_filter1d

from avsync import demo, demo_speech, demo_voice

MARGIN_S = 2.0
Floats = npt.NDArray[np.float64]


def moved_demo(
    path: Path, offset_ms: Callable[[Floats], Floats], seconds: float = 30.0, seed: int = 1, size: int = 256
) -> Path:
    """A demo clip whose audio is early by `offset_ms(times_s)`, given for all times (n,) at once."""
    voice = demo_voice.voice(demo_speech.speak(seed, seconds + MARGIN_S), seconds + MARGIN_S, seed)
    times = np.arange(round(seconds * demo_voice.RATE_HZ)) / demo_voice.RATE_HZ
    heard = times + offset_ms(times) / 1000
    samples = np.interp(heard, np.arange(len(voice)) / demo_voice.RATE_HZ, voice, left=0.0)
    frames = demo._frames(demo_speech.speak(seed, seconds), seed, seconds, 25, size)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "sound.wav")
        soundfile.write(sound, samples.astype(np.float32), demo_voice.RATE_HZ)
        demo._encode(frames, size, Fraction(25), sound, path)
    return path


# --- Other ways to use a voice: each stands in for a part of `demo_voice` or `demo_speech` ---

NOTES = (0, 2, 4, 7, 9, 12)
"""Semitones over the lowest note that are sung."""
VIBRATO_HZ = 5.5


def whispered(pitch: Floats, rng: np.random.Generator) -> Floats:
    """For `demo_voice._glottis`: noise as loud as the pulses would be, whatever the pitch."""
    return 0.3 * rng.standard_normal(len(pitch))


def sung_track(spoken: demo_speech.Track) -> demo_speech.Track:
    """The same sounds with vowels three times as long."""
    longer = np.where([demo_speech.is_vowel(name) for name in spoken.names], 3.0, 1.0)
    edges = np.concatenate([[0.0], np.cumsum(np.diff(spoken.edges_s) * longer)])
    return demo_speech.Track(spoken.names, edges, spoken.stress)


def sung_pitch(track: demo_speech.Track, grid: Floats, rng: np.random.Generator) -> Floats:
    """For `demo_voice._pitch`: each vowel has a note with vibrato, which the sounds after it keep."""
    notes = 220 * 2 ** (rng.choice(NOTES, len(track.names)) / 12)
    vowels = np.array([demo_speech.is_vowel(name) for name in track.names])
    last = np.maximum.accumulate(np.where(vowels, np.arange(len(vowels)), 0))
    index = np.clip(np.searchsorted(track.edges_s, grid, side="right") - 1, 0, len(track.names) - 1)
    held = gaussian_filter1d(notes[last[index]], 0.03 * demo_speech.CONTROL_HZ)
    return held * (1 + 0.03 * np.sin(2 * np.pi * VIBRATO_HZ * grid))
