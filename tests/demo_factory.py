"""Made talking faces whose audio is early by a known amount at every moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

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
