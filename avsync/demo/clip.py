"""A synthetic talking-face clip with a known synchrony error, which needs no footage and no download.

`speech` has what is said and how the face moves, `face` draws the frames, `voice` makes the audio. Frames are
drawn from continuous time, so the clip is exact at any frame rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core.errors import UsageError
from avsync.demo import face, speech, voice
from avsync.media.encode import write_video

SIZE = 400
"""Width and height of the video, pixels."""
DURATION_S = 8.0


def render(
    seed: int = 0, duration_s: float = DURATION_S, fps: float | Fraction = 25, size: int = SIZE
) -> tuple[Iterator[npt.NDArray[np.uint8]], npt.NDArray[np.float32], int]:
    """A face that says made-up sentences in perfect sync; each seed gives other sentences.

    Returns the frames (drawn as they are asked for, uint8 (size, size, 3) RGB, frame i at i / fps s),
    the mono samples float32 (n,), and their rate in Hz. Raises UsageError for impossible sizes.
    """
    _validate(duration_s, fps, size)
    track = speech.speak(seed, duration_s)
    return (
        _frames(track, seed, duration_s, fps, size),
        voice.voice(track, duration_s, seed),
        voice.RATE_HZ,
    )


def write_demo(
    path: str | Path,
    *,
    offset_ms: float = 0.0,
    seed: int = 0,
    duration_s: float = DURATION_S,
    fps: Fraction | float = Fraction(25),
    size: int = SIZE,
) -> Path:
    """Write an MP4 clip (H.264, AAC) whose audio is `offset_ms` early (late if negative).

    `path` is replaced only when the whole clip is written; returns it. Raises OutputError when it cannot be
    written, UsageError for impossible sizes.
    """
    _validate(duration_s, fps, size)
    target = Path(path)
    heard_s = duration_s + max(0.0, offset_ms / 1000)
    spoken = voice.voice(speech.speak(seed, heard_s), heard_s, seed)
    samples = _shifted(spoken, offset_ms, duration_s)
    frames = _frames(speech.speak(seed, duration_s), seed, duration_s, fps, size)
    return write_video(target, frames, (size, size), Fraction(fps), samples, voice.RATE_HZ)


def _validate(duration_s: float, fps: float | Fraction, size: int) -> None:
    if not (0 < duration_s <= 3600 and 1 <= fps <= 240 and 64 <= size <= 2048 and size % 2 == 0):
        raise UsageError(
            "A demo clip lasts up to an hour, at 1 to 240 frames a second, an even 64 to 2048 pixels wide; "
            f"{duration_s} s at {float(fps)} frames a second, {size} pixels cannot be made."
        )


def _frames(
    track: speech.Track, seed: int, duration_s: float, fps: float | Fraction, size: int
) -> Iterator[npt.NDArray[np.uint8]]:
    times_s = np.arange(max(1, round(duration_s * fps))) / float(fps)
    return face.draw(speech.pose(track, times_s, seed), size)


def _shifted(
    samples: npt.NDArray[np.float32], offset_ms: float, duration_s: float
) -> npt.NDArray[np.float32]:
    """`duration_s` of the samples, shifted to be `offset_ms` early; silence before they begin."""
    shift = round(offset_ms / 1000 * voice.RATE_HZ)
    out = np.zeros(round(duration_s * voice.RATE_HZ), np.float32)
    source = samples[max(0, shift) :]
    start = min(max(0, -shift), len(out))
    length = min(len(out) - start, len(source))
    out[start : start + length] = source[:length]
    return out
