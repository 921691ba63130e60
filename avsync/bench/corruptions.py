"""Corruptions of prepared clips that make lip reading hard: low resolution, a face mask, whispering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from avsync.core.constants import FACE_SIZE, SAMPLE_RATE
from avsync.core.errors import UsageError
from avsync.media.images import cv2

Frames = npt.NDArray[np.uint8]
"""(frames, 48, 96, 3) RGB: the lower half of the face."""
Samples = npt.NDArray[np.float32]
"""(n,) at 16 kHz."""

MASK = np.array([(10, 6), (48, -8), (86, 6), (80, 36), (64, 49), (32, 49), (16, 36)], np.int32)
"""Corners (x, y) of a surgical mask in a crop of 96 x 48: over the nose, around the cheeks, under the
chin."""
MASK_RGB = (150, 190, 210)
PLEATS_Y = (12, 24, 36)
WHISPER_ORDER = 18
"""Order of the linear prediction; the usual choice is two per kHz plus two."""
WHISPER_WINDOW, WHISPER_HOP = SAMPLE_RATE // 40, SAMPLE_RATE // 160
"""Samples over which the vocal tract is assumed constant (25 ms), and the hop."""
EMPHASIS = 0.97
"""Pre-emphasis, which is not undone, since a whisper lacks the spectral tilt of the voice."""


def _unchanged(array: npt.NDArray) -> npt.NDArray:
    return array


@dataclass(frozen=True)
class Corruption:
    """A change to every clip before it is evaluated."""

    name: str
    frames: Callable[[Frames], Frames] = _unchanged
    audio: Callable[[Samples], Samples] = _unchanged


NONE = Corruption("")


def parse_corruptions(text: str) -> tuple[Corruption, ...]:
    """Comma-separated `lowres:WIDTH`, `mask`, `whisper`. Raises UsageError for anything else."""
    return tuple(_corruption(word.strip()) for word in text.split(",") if word.strip())


def _corruption(word: str) -> Corruption:
    kind, _, amount = word.partition(":")
    if word == "mask":
        return Corruption(word, frames=mask)
    if word == "whisper":
        return Corruption(word, audio=whisper)
    if kind == "lowres" and amount.isdecimal() and 2 <= int(amount) <= FACE_SIZE:
        return Corruption(word, frames=lambda frames: lowres(frames, int(amount)))
    raise UsageError(
        f"There is no corruption {word!r}; choose from lowres:WIDTH (2 to {FACE_SIZE} pixels per face), "
        "mask, whisper."
    )


def lowres(frames: Frames, width: int) -> Frames:
    """As if the face had been only `width` pixels wide in the video (the lips are about a third of that)."""
    high = frames.shape[1]
    small = (width, max(1, round(width * high / frames.shape[2])))
    return np.stack(
        [
            cv2.resize(
                cv2.resize(frame, small, interpolation=cv2.INTER_AREA),
                (frames.shape[2], high),
                interpolation=cv2.INTER_LINEAR,
            )
            for frame in frames
        ]
    )


def mask(frames: Frames) -> Frames:
    """A pleated mask over nose, mouth and chin, as bright as the clip, that does not move with the jaw."""
    light = float(frames.mean()) / 128
    covered = np.zeros(frames.shape[1:3], np.uint8)
    cv2.fillPoly(covered, [MASK], 1)
    cloth = np.empty(frames.shape[1:], np.float64)
    cloth[:] = np.clip(np.array(MASK_RGB) * min(1.0, light), 0, 255)
    for y in PLEATS_Y:
        cloth[y : y + 2] *= 0.85
    return np.where(covered[..., None] > 0, cloth.astype(np.uint8), frames)


def whisper(samples: Samples) -> Samples:
    """The same words whispered: noise replaces the voice as excitation, while the vocal tract filter (linear
    prediction) and the loudness over time are kept. Scaled to the RMS of the input."""
    emphasised = lfilter([1, -EMPHASIS], [1], np.asarray(samples, np.float64))
    lead = WHISPER_WINDOW
    padded = np.pad(emphasised, (lead, 2 * lead))
    noise = np.random.default_rng(0).standard_normal(len(padded))
    window = np.hanning(WHISPER_WINDOW + 1)[:-1]
    whispered = np.zeros(len(padded))
    for first in range(0, len(padded) - WHISPER_WINDOW, WHISPER_HOP):
        part = slice(first, first + WHISPER_WINDOW)
        coefficients, gain = _vocal_tract(padded[part] * window)
        whispered[part] += window * lfilter([gain], coefficients, noise[part])
    whispered = whispered[lead : lead + len(samples)]
    power = float(np.mean(whispered**2))
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)) / power) if power else 0.0
    return np.clip(whispered * level, -1, 1).astype(np.float32)


def _vocal_tract(windowed: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Coefficients of the all-pole filter of a windowed excerpt, and the RMS of its excitation."""
    product = np.correlate(windowed, windowed, "full")[len(windowed) - 1 :][: WHISPER_ORDER + 1]
    if product[0] <= 0:
        return np.array([1.0]), 0.0
    product[0] *= 1 + 1e-6  # a noise floor, without which pure tones have no filter
    ahead = solve_toeplitz(product[:-1], product[1:])
    left = max(0.0, float(product[0] - ahead @ product[1:]))
    return np.concatenate([[1.0], -ahead]), float(np.sqrt(left / len(windowed)))
