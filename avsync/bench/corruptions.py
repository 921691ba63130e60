"""What makes lip reading hard, laid over prepared clips: few pixels, a mask before the mouth, a whisper."""

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

Pictures = npt.NDArray[np.uint8]
"""(frames, 48, 96, 3) RGB: the lower half of the face."""
Samples = npt.NDArray[np.float32]
"""(n,) at 16 kHz."""

MASK = np.array([(10, 6), (48, -8), (86, 6), (80, 36), (64, 49), (32, 49), (16, 36)], np.int32)
"""Corners (x, y) of a surgical mask in a crop of 96 x 48: over the nose, round the cheeks, under the chin."""
MASK_RGB = (150, 190, 210)
PLEATS_Y = (12, 24, 36)
WHISPER_ORDER = 18
"""Coefficients of the throat's filter; two for each kHz and two more are usual."""
WHISPER_WINDOW, WHISPER_HOP = SAMPLE_RATE // 40, SAMPLE_RATE // 160
"""Samples over which the filter counts as constant (25 ms), and from one to the next."""
EMPHASIS = 0.97
"""Taken off before the filter is sought and not put back: a whisper lacks the fall of the voice."""


def _as_it_is(what: npt.NDArray) -> npt.NDArray:
    return what


@dataclass(frozen=True)
class Spoil:
    """Something that is done to each clip before it is judged."""

    name: str
    picture: Callable[[Pictures], Pictures] = _as_it_is
    sound: Callable[[Samples], Samples] = _as_it_is


NOTHING = Spoil("")


def parse_spoils(text: str) -> tuple[Spoil, ...]:
    """Comma-separated `lowres:WIDTH`, `mask`, `whisper`. Raises UsageError for anything else."""
    return tuple(_spoil(word.strip()) for word in text.split(",") if word.strip())


def _spoil(word: str) -> Spoil:
    kind, _, amount = word.partition(":")
    if word == "mask":
        return Spoil(word, picture=mask)
    if word == "whisper":
        return Spoil(word, sound=whisper)
    if kind == "lowres" and amount.isdecimal() and 2 <= int(amount) <= FACE_SIZE:
        return Spoil(word, picture=lambda pictures: lowres(pictures, int(amount)))
    raise UsageError(
        f"There is no spoiling {word!r}; choose from lowres:WIDTH (2 to {FACE_SIZE} pixels a face), mask, "
        "whisper."
    )


def lowres(pictures: Pictures, width: int) -> Pictures:
    """As if the face had been only `width` pixels wide in the video (the lips are about a third of that)."""
    high = pictures.shape[1]
    small = (width, max(1, round(width * high / pictures.shape[2])))
    return np.stack(
        [
            cv2.resize(
                cv2.resize(picture, small, interpolation=cv2.INTER_AREA),
                (pictures.shape[2], high),
                interpolation=cv2.INTER_LINEAR,
            )
            for picture in pictures
        ]
    )


def mask(pictures: Pictures) -> Pictures:
    """A pleated mask over nose, mouth and chin, as bright as the clip, that does not move with the jaw."""
    light = float(pictures.mean()) / 128
    covered = np.zeros(pictures.shape[1:3], np.uint8)
    cv2.fillPoly(covered, [MASK], 1)
    cloth = np.empty(pictures.shape[1:], np.float64)
    cloth[:] = np.clip(np.array(MASK_RGB) * min(1.0, light), 0, 255)
    for y in PLEATS_Y:
        cloth[y : y + 2] *= 0.85
    return np.where(covered[..., None] > 0, cloth.astype(np.uint8), pictures)


def whisper(samples: Samples) -> Samples:
    """The same words whispered: what excites the throat becomes noise, the throat's filter (linear
    prediction) and its loudness over time stay. As loud as before, so that the level is not what is measured.
    """
    emphasised = lfilter([1, -EMPHASIS], [1], np.asarray(samples, np.float64))
    lead = WHISPER_WINDOW
    padded = np.pad(emphasised, (lead, 2 * lead))
    noise = np.random.default_rng(0).standard_normal(len(padded))
    window = np.hanning(WHISPER_WINDOW + 1)[:-1]
    said = np.zeros(len(padded))
    for first in range(0, len(padded) - WHISPER_WINDOW, WHISPER_HOP):
        part = slice(first, first + WHISPER_WINDOW)
        coefficients, gain = _throat(padded[part] * window)
        said[part] += window * lfilter([gain], coefficients, noise[part])
    said = said[lead : lead + len(samples)]
    power = float(np.mean(said**2))
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)) / power) if power else 0.0
    return np.clip(said * level, -1, 1).astype(np.float32)


def _throat(windowed: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """Coefficients of the all-pole filter of a piece of sound, and the RMS of what excites it."""
    product = np.correlate(windowed, windowed, "full")[len(windowed) - 1 :][: WHISPER_ORDER + 1]
    if product[0] <= 0:
        return np.array([1.0]), 0.0
    product[0] *= 1 + 1e-6  # a floor of noise, without which pure tones have no filter
    ahead = solve_toeplitz(product[:-1], product[1:])
    left = max(0.0, float(product[0] - ahead @ product[1:]))
    return np.concatenate([[1.0], -ahead]), float(np.sqrt(left / len(windowed)))
