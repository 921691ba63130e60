"""Which windows a step trains on. Every draw is a pure function of seed and epoch, so that a resumed run
continues exactly and every process of a distributed run knows the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.core.constants import PROTOCOL_RADIUS, WINDOW_FRAMES
from avsync.data.shards import SAMPLES_PER_FRAME, Store

Negatives = Literal["near", "anywhere"]
IntArray = npt.NDArray[np.int64]

VALIDATION_SEED = 977
REDRAWS = 10
QUIET = 0.01
"""Largest RMS of a window that the authors' code calls quiet."""


class Pairs(NamedTuple):
    """Pairs of a video window and an audio window of the same clip: clip number, first frame of
    the video window, first frame of the audio window, label 1 (in sync) or 0; each int64 (n,)."""

    clips: IntArray
    video: IntArray
    audio: IntArray
    labels: IntArray

    def part(self, start: int, stop: int) -> Pairs:
        """Pairs start..stop."""
        return Pairs(*(column[start:stop] for column in self))


def clip_order(rng: np.random.Generator, n_clips: int, count: int) -> IntArray:
    """`count` clip indices, as shuffled passes over all clips."""
    passes = -(-count // n_clips)
    return np.concatenate([rng.permutation(n_clips) for _ in range(passes)])[:count].astype(np.int64)


def draw_pairs(
    windows: IntArray,
    count: int,
    *,
    seed: int,
    epoch: int,
    negatives: Negatives = "near",
    radius: int = PROTOCOL_RADIUS,
    loud: Sequence[npt.NDArray[np.bool_]] | None = None,
) -> Pairs:
    """`count` pairs of one epoch, alternately in sync and not, so that any even batch holds half of each.

    windows: (n_clips,) windows of each clip, at least 2. "near" shifts a negative's audio by up to `radius`
    frames either way, "anywhere" to any other window of the clip. `loud`: which windows of each clip are
    loud; a negative with two quiet windows is redrawn up to `REDRAWS` times, then kept.
    """
    if windows.min(initial=2) < 2:
        raise ValueError("a clip with a single window has no negative")
    rng = np.random.default_rng([seed, epoch])
    clips = clip_order(rng, len(windows), count)
    last = windows[clips] - 1
    video = rng.integers(0, last + 1)
    reach = radius if negatives == "near" else int(windows.max())
    low, high = np.maximum(-reach, -video), np.minimum(reach, last - video)
    shift = _not_zero(rng, low, high)
    labels = (np.arange(count) + 1) % 2
    if loud is not None:
        for _ in range(REDRAWS):
            again = np.flatnonzero((labels == 0) & _both_quiet(loud, clips, video, shift))
            shift[again] = _not_zero(rng, low[again], high[again])
    return Pairs(clips, video, video + np.where(labels == 1, 0, shift), labels)


def _not_zero(rng: np.random.Generator, low: IntArray, high: IntArray) -> IntArray:
    """Shifts between low and high (n,), excluding zero."""
    shift = low + rng.integers(0, high - low)
    return shift + (shift >= 0)


def _both_quiet(
    loud: Sequence[npt.NDArray[np.bool_]], clips: IntArray, video: IntArray, shift: IntArray
) -> npt.NDArray[np.bool_]:
    rows = zip(clips.tolist(), video.tolist(), (video + shift).tolist(), strict=True)
    return np.array([not (loud[clip][own] or loud[clip][other]) for clip, own, other in rows])


def loud_windows(store: Store) -> list[npt.NDArray[np.bool_]]:
    """Which windows (n,) of each clip have an RMS above `QUIET`."""
    found = []
    for number, clip in enumerate(store.clips):
        power = np.square(store.wave(number)[: clip.frames * SAMPLES_PER_FRAME] / 32768)
        frames = len(power) // SAMPLES_PER_FRAME
        sums = power[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME).mean(1)
        found.append(np.convolve(sums, np.ones(WINDOW_FRAMES), "valid") / WINDOW_FRAMES > QUIET**2)
    return found


def validation_pairs(windows: IntArray, per_clip: int) -> Pairs:
    """Fixed pairs: `per_clip` of each clip, half of them in sync."""
    return draw_pairs(windows, per_clip * len(windows), seed=VALIDATION_SEED, epoch=0)
