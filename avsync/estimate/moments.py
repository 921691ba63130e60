"""The likeliest offset of every window, or of every second, and how probable it is. Pure numpy.

This assumes that the lips say the speech; whether they do, and whether one offset holds throughout, is for
`offset` to decide, which sees the whole. How well the probabilities hold is measured in the model's card.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.compared import ByValue
from avsync.core.constants import FRAME_MS, FRAME_S
from avsync.core.records import Scores
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import block_sums, evidence

Floats = npt.NDArray[np.float64]

OBSERVATIONS_PER_S = 3.0
"""Independent observations in a second of neighbouring windows, by which the probability of a second is
calibrated on `val`."""
BESIDE = 0.85
"""How much of what the candidates beside the best one get lies within a frame of the offset that is given,
calibrated in the same way: they stand for true offsets of up to a frame and a half from the best."""


@dataclass(frozen=True, eq=False)
class Moments(ByValue):
    """All float64 (n,), in order of time: `times_s` at which a moment begins; `offset_ms`, its likeliest
    offset, positive when the audio is early; `probability` (0..1) that this is right within a frame,
    40 ms."""

    times_s: Floats
    offset_ms: Floats
    probability: Floats


def moments(scores: Scores, calibration: Calibration, every_s: float | None = 1.0) -> Moments:
    """The moments of a track, each from its `every_s` seconds alone (None: from one window). Less than half a
    moment at the end counts to the one before; moments without a window are left out."""
    found = evidence(scores, calibration)
    if not len(found.rows):
        return Moments(*np.zeros((3, 0)))
    step_s = float(np.median(np.diff(found.times_s))) if len(found.times_s) > 1 else FRAME_S
    cell = np.arange(len(found.rows))
    if every_s is not None:
        since_s = found.times_s - found.times_s.min()
        last = max(0, round((since_s.max() + step_s) / every_s) - 1)
        cell = np.minimum(np.floor(since_s / every_s + 1e-6).astype(np.int64), last)
    _, first, block = np.unique(cell, return_index=True, return_inverse=True)
    sums, counts = block_sums(found, block.reshape(-1))
    covered_s = np.bincount(block.reshape(-1))[:, None] * step_s
    number = 1.0 if every_s is None else np.maximum(1.0, OBSERVATIONS_PER_S * covered_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        likely = np.where(counts > 0, number * sums / counts, -np.inf)
    share = np.exp(likely - likely.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    best = share.argmax(axis=1)
    beside = np.pad(share, ((0, 0), (1, 1)))
    place = np.arange(len(best))
    before, at, after = (beside[place, best + step] for step in range(3))
    # The audio shift between two candidates: the mean of the best one and those beside it.
    shift = found.shifts[best] + (after - before) / (before + at + after)
    return Moments(
        times_s=found.times_s[first],
        offset_ms=-FRAME_MS * shift - calibration.bias_ms,
        probability=np.minimum(at + BESIDE * (before + after), 1.0),
    )
