"""The offset along the video: constant, drifting, or jumping. Pure numpy.

Time is cut into blocks, and every model of the timeline (a line, or a path of steps) is judged by the same
number: the summed log-likelihood of the blocks along it, less a price for each parameter beyond a constant.
What a window can add is bounded (calibration.log_ratios), so wrong windows do not bend the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avsync.calibration import Calibration
from avsync.curve import Evidence, Measure, averaged, block_sums, measure
from avsync.records import Segment
from avsync.settings import FRAME_MS, FRAME_S, MIN_PROBABILITY, WINDOW_FRAMES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK_S = 1.0
MAX_TIME_BLOCKS = 600
FINE = 4
"""Steps per frame on which lines are tried."""
SLOPES_PER_FRAME = 2
"""Slopes tried for each frame by which the offset may change from end to end."""
MAX_CHANGE = 30
"""Frames by which the offset may change from end to end for the change to be taken for a drift."""
MIN_DRIFT_BLOCKS = 8
MAX_DRIFT_ERROR = 40.0
"""A drift known no better than this (95 %, ms per minute) is not told."""
STRETCH_S = 10.0
"""Evidence along the video is weighed in stretches of about this length; one with too little is a gap."""
MAX_STRETCHES = 120
STRETCH_OBSERVATIONS = 20
"""Where windows are sparse, a stretch is longer, so as to hold about this many independent ones."""
STRETCH_CERTAINTY = 0.5
"""Probability, from a stretch alone, that it has the offset of its piece, for it to count as judged."""


@dataclass(frozen=True)
class Blocks:
    """Log-likelihoods `values` (n_blocks, n_shifts) of blocks of windows around `times_s` (n_blocks,);
    `block` (n_windows,): the block that each window is in."""

    times_s: Floats
    values: Floats
    block: Ints


@dataclass(frozen=True)
class Piece:
    """Consecutive windows on one line: `windows` are their numbers, `measure.offset_ms` is the offset at
    `middle_s`, which changes by `slope` ms per second."""

    windows: Ints
    measure: Measure
    middle_s: float
    slope: float = 0.0

    def offset_at(self, time_s: float) -> float:
        """Offset in ms at a time of the video."""
        return self.measure.offset_ms + self.slope * (time_s - self.middle_s)


@dataclass(frozen=True)
class Timeline:
    """`pieces` in order of time: one for a constant or drifting video, several where it jumps.
    `drift_ms_per_min` None when it cannot be told."""

    pieces: tuple[Piece, ...]
    segments: tuple[Segment, ...]
    drift_ms_per_min: float | None


def timeline(found: Evidence, calibration: Calibration) -> Timeline:
    """Choose among a constant offset, a drift and jumps, and weigh the evidence along the video.

    `found` has at least one window; its windows are in order of time.
    """
    blocks = block_likelihoods(found, calibration)
    path, path_value = best_path(blocks.values, calibration.change_cost + float(np.log(len(blocks.values))))
    slope, error, line_value = best_line(blocks, int(np.median(path)))
    if line_value - calibration.change_cost > path_value:
        pieces = (_piece(found, np.arange(len(found.rows)), calibration, slope),)
        drift = 60 * slope
    else:
        pieces = tuple(_piece(found, windows, calibration) for windows in _runs(found, blocks, path))
        steady = len(pieces) == 1 and pieces[0].measure.probability >= MIN_PROBABILITY
        flat = abs(slope) <= error * calibration.spread <= MAX_DRIFT_ERROR / 60
        drift = 0.0 if steady and flat else None
    starts = [float(found.times_s[piece.windows[0]]) for piece in pieces]
    ends = [*starts[1:], float(found.times_s[-1]) + WINDOW_FRAMES * FRAME_S]
    spans = zip(pieces, starts, ends, strict=True)
    return Timeline(pieces, tuple(s for span in spans for s in _segments(found, blocks, *span)), drift)


def block_likelihoods(found: Evidence, calibration: Calibration) -> Blocks:
    """Sum each block of time as if it held one observation for every `dependence_s` that has windows."""
    seconds = max(BLOCK_S, float(np.ptp(found.times_s)) / MAX_TIME_BLOCKS)
    since = found.times_s - found.times_s.min()
    used, block = np.unique(np.floor(since / seconds + 1e-6).astype(np.int64), return_inverse=True)
    curves = averaged(*block_sums(found, block))
    curves = np.where(np.isfinite(curves), curves, np.nanmean(curves, axis=1, keepdims=True))
    cell = np.floor((since - used[block] * seconds) / calibration.dependence_s + 1e-6).astype(np.int64)
    observations = np.bincount(np.unique(np.column_stack([block, cell]), axis=0)[:, 0])
    trust = np.zeros(len(used))
    np.maximum.at(trust, block, found.weights)
    times = found.times_s.min() + (used + 0.5) * seconds
    return Blocks(times, curves * (observations * trust)[:, None], block)


def best_path(values: Floats, change_cost: float) -> tuple[Ints, float]:
    """Column of each block (n_blocks,) on the likeliest path of steps, and its log-likelihood less
    `change_cost` for each step."""
    total = values[0].copy()
    came_from = np.tile(np.arange(values.shape[1]), (len(values), 1))
    for b in range(1, len(values)):
        best = int(total.argmax())
        stepped = total[best] - change_cost > total
        came_from[b, stepped] = best
        total = np.where(stepped, total[best] - change_cost, total) + values[b]
    path = np.empty(len(values), np.int64)
    path[-1] = int(total.argmax())
    for b in range(len(values) - 1, 0, -1):
        path[b - 1] = came_from[b, path[b]]
    return path, float(total.max())


def best_line(blocks: Blocks, column: int) -> tuple[float, float, float]:
    """Slope in ms per second of the likeliest line near `column`, half its 95 % interval, and its
    log-likelihood.

    A line stays within the offsets searched. Too short a video gives (0, inf, -inf).
    """
    span = float(np.ptp(blocks.times_s))
    if len(blocks.values) < MIN_DRIFT_BLOCKS:
        return 0.0, np.inf, -np.inf
    fine = _upsample(blocks.values[:, max(0, column - 2 * MAX_CHANGE) : column + 2 * MAX_CHANGE + 1])
    along = (blocks.times_s - blocks.times_s[0]) / span - 0.5
    limit = SLOPES_PER_FRAME * min(MAX_CHANGE, blocks.values.shape[1] - 1)
    changes = np.arange(-limit, limit + 1) / SLOPES_PER_FRAME  # frames of shift, from end to end
    totals = np.array([_line_value(fine, np.rint(FINE * c * along).astype(np.int64)) for c in changes])
    best = int(totals.argmax())
    if best in (0, len(totals) - 1):
        return 0.0, np.inf, -np.inf
    left, top, right = totals[best - 1 : best + 2]
    bend = left - 2 * top + right
    ms_per_s = -FRAME_MS / span / SLOPES_PER_FRAME
    error = 1.96 / np.sqrt(-bend) if bend < 0 else np.inf
    part = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((best - limit + part) * ms_per_s), float(error * -ms_per_s), float(top)


def _line_value(fine: Floats, moves: Ints) -> float:
    """Summed log-likelihood of the best line that passes each block `moves` columns off its middle."""
    first, past = max(0, -int(moves.min())), fine.shape[1] - max(0, int(moves.max()))
    if first >= past:
        return -np.inf
    columns = np.arange(first, past) + moves[:, None]
    return float(np.take_along_axis(fine, columns, axis=1).sum(axis=0).max())


def _upsample(values: Floats) -> Floats:
    """(n, k) -> (n, FINE * (k - 1) + 1): cubic between the columns, through all of them."""
    padded = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    a, b, c, d = (padded[:, i : i + values.shape[1] - 1] for i in range(4))
    parts = [b + 0.5 * x * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
             for x in np.arange(FINE) / FINE]  # fmt: skip
    return np.concatenate([np.stack(parts, axis=2).reshape(len(values), -1), values[:, -1:]], axis=1)


def _runs(found: Evidence, blocks: Blocks, path: Ints) -> list[Ints]:
    """Windows of each step of the path; the cuts are moved to the window where the evidence turns."""
    cuts = [0]
    for b in np.flatnonzero(np.diff(path)):
        near = np.flatnonzero((blocks.block >= b - 1) & (blocks.block <= b + 2))
        gain = np.nan_to_num(found.rows[near, path[b]] - found.rows[near, path[b + 1]])
        cut = int(near[0] + np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))
        cuts.append(max(cut, cuts[-1] + 1))
    return [run for run in np.split(np.arange(len(found.rows)), cuts[1:]) if len(run)]


def _piece(found: Evidence, windows: Ints, calibration: Calibration, slope: float = 0.0) -> Piece:
    """Measure the windows as one line of a known slope (ms per second)."""
    times = found.times_s[windows]
    middle = float(times[0] + times[-1]) / 2
    rows = found.rows[windows]
    if slope:
        step = float(found.shifts[1] - found.shifts[0])
        moves = np.rint(-slope * (times - middle) / FRAME_MS / step).astype(np.int64)
        columns = np.arange(rows.shape[1]) + moves[:, None]
        inside = (columns >= 0) & (columns < rows.shape[1])
        straight = np.take_along_axis(rows, columns.clip(0, rows.shape[1] - 1), axis=1)
        rows = np.where(inside, straight, np.nan)
    part = replace(found, rows=rows, times_s=times, weights=found.weights[windows])
    measured = measure(part, calibration)
    return Piece(windows, measured, middle, slope)


def _segments(
    found: Evidence, blocks: Blocks, piece: Piece, start_s: float, end_s: float
) -> Iterator[Segment]:
    """Neighbouring stretches of a piece that are judged, or that are gaps, as one segment each."""
    m = piece.measure
    observed = int(m.observations / STRETCH_OBSERVATIONS)
    count = max(1, min(round((end_s - start_s) / STRETCH_S), observed, MAX_STRETCHES))
    edges = np.linspace(start_s, end_s, count + 1)
    stretch = np.searchsorted(edges[1:-1], found.times_s[piece.windows], side="right")
    judged = [
        m.probability >= MIN_PROBABILITY
        and (count == 1 or _certainty(found, blocks, piece, piece.windows[stretch == i]) >= STRETCH_CERTAINTY)
        for i in range(count)
    ]
    first = 0
    for past in range(1, count + 1):
        if past < count and judged[past] == judged[first] and _flat(piece, edges[first], edges[past + 1]):
            continue
        span = float(edges[first]), float(edges[past])
        if judged[first]:
            yield Segment(*span, piece.offset_at(sum(span) / 2), m.uncertainty_ms, m.probability)
        else:
            yield Segment(*span, None, None, min(m.probability, MIN_PROBABILITY / 2))
        first = past


def _flat(piece: Piece, start_s: float, end_s: float) -> bool:
    """Whether the offset changes by no more than a frame between two times."""
    return abs(piece.slope) * (end_s - start_s) <= FRAME_MS


def _certainty(found: Evidence, blocks: Blocks, piece: Piece, windows: Ints) -> float:
    """Probability, from the blocks of these windows alone, that they have the offset of the piece."""
    if not len(windows):
        return 0.0
    total = blocks.values[np.unique(blocks.block[windows])].sum(axis=0)
    share = np.exp(total - total.max())
    expected = piece.offset_at(float(found.times_s[windows].mean()))
    near = np.abs(-FRAME_MS * found.shifts - expected) <= 1.5 * FRAME_MS
    return float(share[near].sum() / share.sum())
