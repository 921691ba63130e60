"""The published evaluation: 31 candidates per window, with rows of neighbouring windows averaged.

A score matrix is (n_windows, 31): one row per 5-frame window at a stride of one frame, one column
per candidate from -15 to +15 frames; the middle column is the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from avsync.core.constants import PROTOCOL_RADIUS, WINDOW_FRAMES, Mask

FRAMES_K = (5, 7, 9, 11, 13, 15)
"""Input lengths of the published tables, in frames."""
LONG_S = 3.0
"""A clip at least this long should be enough for a correct offset."""
MISSING_SCORE = -1000.0
"""Score of a candidate that lies outside the clip, by the protocol."""
TOLERATED_FRAMES = 1


def missing(starts: npt.NDArray[np.int64], windows: int, mask: Mask = "both") -> npt.NDArray[np.bool_]:
    """(len(starts), 31): the candidates that score -1000, for windows `starts` of a clip of `windows`.

    "both": all that lie outside the clip. "one-sided": of the first 15 windows only those before the clip,
    of the last 15 only those behind it. The two differ where a window is among both, so in clips of fewer
    than 30 windows: there the authors' code scores what is behind the clip with an audio input of zeros.
    """
    other = starts[:, None] + np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
    behind = other >= windows
    if mask == "one-sided":
        behind &= (starts >= PROTOCOL_RADIUS)[:, None]
    return (other < 0) | behind


def protocol_average(logits: npt.ArrayLike, frames_k: int) -> npt.NDArray[np.float64]:
    """Average the rows that an input of `frames_k` frames covers: (n, 31) -> (n, 31).

    `frames_k` = 5, 7, 9, ... averages 1, 3, 5, ... rows around each window, fewer near the clip's ends.
    NaN stands for a missing candidate and counts as -1000. Raises ValueError for another `frames_k`.
    """
    half, odd = divmod(frames_k - WINDOW_FRAMES, 2)
    if odd or half < 0:
        raise ValueError(f"frames_k must be 5, 7, 9, ..., not {frames_k}")
    rows = np.asarray(logits, np.float64)
    rows = np.where(np.isnan(rows), MISSING_SCORE, rows)
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    window = np.arange(len(rows))
    first = np.maximum(window - half, 0)
    past = np.minimum(window + half + 1, len(rows))
    return (sums[past] - sums[first]) / (past - first)[:, None]


def protocol_hits(logits: npt.ArrayLike, frames_k: int) -> npt.NDArray[np.bool_]:
    """(n,): whether each window's best candidate is within one frame of the truth."""
    best = protocol_average(logits, frames_k).argmax(axis=1)
    return np.abs(best - PROTOCOL_RADIUS) <= TOLERATED_FRAMES


def existing_hits(logits: npt.ArrayLike, frames_k: int) -> npt.NDArray[np.bool_]:
    """(n,): as `protocol_hits`, but each candidate is averaged over the rows in which it exists.

    In a clip about as long as the search, the published -1000 of a missing candidate drags its whole
    average down, so that the middle wins by default; here a missing one says nothing."""
    rows = np.asarray(logits, np.float64)
    exists = np.isfinite(rows)
    counts = protocol_average(exists.astype(np.float64), frames_k)
    sums = protocol_average(np.where(exists, rows, 0.0), frames_k)
    best = np.where(counts > 0, sums / np.maximum(counts, 1e-12), -np.inf).argmax(axis=1)
    return np.abs(best - PROTOCOL_RADIUS) <= TOLERATED_FRAMES


def protocol_accuracy(clips: Sequence[npt.ArrayLike], frames_k: int) -> float:
    """Share (0..1) of windows that are right: the mean over a clip's windows, then over clips.

    A clip without a window does not count. Raises ValueError when none has one.
    """
    shares = [protocol_hits(clip, frames_k).mean() for clip in clips if len(np.asarray(clip))]
    if not shares:
        raise ValueError("no clip has a window to score")
    return float(np.mean(shares))
