"""Which windows a step trains on. Every draw is a pure function of seed and epoch, so a resumed run
goes on exactly where it was and every process of a distributed run knows the whole batch."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.core.constants import PROTOCOL_RADIUS

Negatives = Literal["near", "anywhere"]
IntArray = npt.NDArray[np.int64]

VALIDATION_SEED = 977


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
    """`count` clip numbers: whole shuffled passes over the clips, so that none is left behind."""
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
) -> Pairs:
    """`count` pairs of one epoch, in sync and not in turn, so that any even batch holds half of each.

    windows: (n_clips,) windows of each clip, at least 2. "near" shifts a negative's audio by up to
    `radius` frames either way, "anywhere" to any other window of the clip.
    """
    if windows.min(initial=2) < 2:
        raise ValueError("a clip with a single window has no negative")
    rng = np.random.default_rng([seed, epoch])
    clips = clip_order(rng, len(windows), count)
    last = windows[clips] - 1
    video = rng.integers(0, last + 1)
    reach = radius if negatives == "near" else int(windows.max())
    low, high = np.maximum(-reach, -video), np.minimum(reach, last - video)
    shift = low + rng.integers(0, high - low)
    shift += shift >= 0  # zero is no negative
    labels = (np.arange(count) + 1) % 2
    return Pairs(clips, video, video + np.where(labels == 1, 0, shift), labels)


def validation_pairs(windows: IntArray, per_clip: int) -> Pairs:
    """The same pairs every time: `per_clip` of each clip, half of them in sync."""
    return draw_pairs(windows, per_clip * len(windows), seed=VALIDATION_SEED, epoch=0)
