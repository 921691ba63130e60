"""The likeliest course of the offset along the video: a line, or a path of steps. Pure numpy.

Time is cut into blocks, and every line or path is judged by the same number: the summed log-likelihood of the
blocks along it, less the price of its steps. What a window can add is bounded (calibration.log_ratios), so
wrong windows do not bend the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import Evidence, averaged, block_sums

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
MAX_BASES = 4
"""Offsets that are tried as the one that a video keeps returning to."""
MIN_DRIFT_BLOCKS = 8
WANDER_S = 10.0
"""How long the bias of a face lasts, roughly: the slopes of single shots in sync of 17 to 21 s scatter 1.7
times as far as the evidence says, those of 8 to 12 s no further (29 clips of val, avsync-4)."""
EASE_AT_CUTS = 1.0
"""Factor on the price of a jump where a shot begins."""
AT_CUTS = 0.5
"""Share of the jumps that lie where a shot begins."""


@dataclass(frozen=True)
class Blocks:
    """Log-likelihoods `values` (n_blocks, n_shifts) of blocks of windows around `times_s` (n_blocks,);
    `block` (n_windows,): the block that each window is in; `cut` (n_blocks,): whether a shot begins with
    it; `seconds` (n_blocks,): how long it has windows, `dependence_s` for each independent observation."""

    times_s: Floats
    values: Floats
    block: Ints
    cut: npt.NDArray[np.bool_]
    seconds: Floats


def block_likelihoods(found: Evidence, calibration: Calibration) -> Blocks:
    """Sum each block of time as if it held one observation for every `dependence_s` that has windows. No
    block reaches over a cut."""
    seconds = max(BLOCK_S, float(np.ptp(found.times_s)) / MAX_TIME_BLOCKS)
    since = found.times_s - found.times_s.min()
    shot = np.searchsorted(found.cuts, found.times_s + 1e-6, side="right")
    place = np.column_stack([shot, np.floor(since / seconds + 1e-6).astype(np.int64)])
    used, block = np.unique(place, axis=0, return_inverse=True)
    block = block.reshape(-1)
    curves = averaged(*block_sums(found, block))
    curves = np.where(np.isfinite(curves), curves, np.nanmean(curves, axis=1, keepdims=True))
    # What the blocks on either side of an edge observe together counts once, in shares.
    cell = np.unique(np.floor(since / calibration.dependence_s + 1e-6), return_inverse=True)[1].reshape(-1)
    observations = np.asarray(np.bincount(block, 1 / np.bincount(cell)[cell], len(used)), np.float64)
    trust = np.zeros(len(used))
    np.maximum.at(trust, block, found.weights)
    times = found.times_s.min() + (used[:, 1] + 0.5) * seconds
    cut = np.concatenate([[False], np.diff(used[:, 0]) > 0])
    values = curves * (observations * trust)[:, None]
    return Blocks(times, values, block, cut, observations * calibration.dependence_s)


def likeliest_path(
    values: Floats, change_cost: float, cut: npt.NDArray[np.bool_] | None = None
) -> tuple[Ints, int, float]:
    """Column of each block (n_blocks,) on the likeliest path of steps; the column that it keeps returning to;
    and its log-likelihood less the price of its steps."""
    constant = values.sum(axis=0)
    steps = best_path(values, change_cost, None, cut)[0]
    tried = np.unique(np.concatenate([steps, [constant.argmax()]]))
    bases = tried[np.argsort(-constant[tried])][:MAX_BASES]
    found = [(*best_path(values, change_cost, int(base), cut), int(base)) for base in bases]
    path, value, base = max(found, key=lambda f: f[1])
    return path, base if base in path else int(np.bincount(path).argmax()), value


def best_path(
    values: Floats, change_cost: float, base: int | None, cut: npt.NDArray[np.bool_] | None = None
) -> tuple[Ints, float]:
    """The path that `likeliest_path` describes, for a known `base`.

    A step may come at any block, but likelier where a shot begins, `cut` (n_blocks,): it costs the negative
    log of the probability of its block, and `change_cost` on top unless it leads back to the base.
    """
    place = np.full(len(values), np.log(len(values)))
    cut = np.zeros(len(values), bool) if cut is None else cut
    if cut.any():
        place = np.where(cut, np.log(cut.sum() / AT_CUTS), np.log(len(values) / (1 - AT_CUTS)))
    away = np.ones(values.shape[1])
    if base is not None:
        away[base] = 0.0
    price = np.where(cut, change_cost * EASE_AT_CUTS, change_cost)
    total = values[0].copy()
    came_from = np.tile(np.arange(values.shape[1]), (len(values), 1))
    for b in range(1, len(values)):
        best = int(total.argmax())
        cost = away * price[b] + place[b]
        stepped = total[best] - cost > total
        came_from[b, stepped] = best
        total = np.where(stepped, total[best] - cost, total) + values[b]
    path = np.empty(len(values), np.int64)
    path[-1] = int(total.argmax())
    for b in range(len(values) - 1, 0, -1):
        path[b - 1] = came_from[b, path[b]]
    return path, float(total.max())


def best_line(blocks: Blocks, column: int) -> tuple[float, float, float, float]:
    """Slope in ms per second of the likeliest line near `column`, half its 95 % interval, its
    log-likelihood, and that of the likeliest level line, which may lie between two columns as well.

    A line stays within the offsets searched. Too short a video gives (0, inf, -inf, -inf).
    """
    span = float(np.ptp(blocks.times_s))
    if len(blocks.values) < MIN_DRIFT_BLOCKS or span <= 0:
        return 0.0, np.inf, -np.inf, -np.inf
    fine = _upsample(blocks.values[:, max(0, column - 2 * MAX_CHANGE) : column + 2 * MAX_CHANGE + 1])
    along = (blocks.times_s - blocks.times_s[0]) / span - 0.5
    limit = SLOPES_PER_FRAME * min(MAX_CHANGE, blocks.values.shape[1] - 1)
    changes = np.arange(-limit, limit + 1) / SLOPES_PER_FRAME  # frames of shift, from end to end
    totals = np.array([_line_value(fine, np.rint(FINE * c * along).astype(np.int64)) for c in changes])
    best = int(totals.argmax())
    if best in (0, len(totals) - 1):
        return 0.0, np.inf, -np.inf, -np.inf
    left, top, right = totals[best - 1 : best + 2]
    bend = left - 2 * top + right
    ms_per_s = -FRAME_MS / span / SLOPES_PER_FRAME
    error = 1.96 / np.sqrt(-bend) if bend < 0 else np.inf
    part = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((best - limit + part) * ms_per_s), float(error * -ms_per_s), float(top), float(totals[limit])


def bias_of_slope(blocks: Blocks, floor_ms: float) -> float:
    """Half the 95 % interval of the error of a slope, in ms per second, if each shot, each WANDER_S of a
    longer one, or each half of a single one has a bias of up to `floor_ms` (95 %) of its own."""
    begins = blocks.cut | _parts_begin(blocks)
    if not begins.any():
        begins[len(begins) // 2] = True
    weight = blocks.values.max(axis=1) - blocks.values.mean(axis=1)
    total = float(weight.sum())
    if total <= 0:
        return 0.0
    since = blocks.times_s - float((weight * blocks.times_s).sum()) / total
    together = np.bincount(np.cumsum(begins), weight * since)
    return float(floor_ms * np.sqrt((together**2).sum()) / max(float((weight * since**2).sum()), 1e-9))


def _parts_begin(blocks: Blocks) -> npt.NDArray[np.bool_]:
    """Where, within a shot, another part of about WANDER_S begins."""
    begins = np.zeros(len(blocks.times_s), bool)
    for own in np.split(np.arange(len(begins)), np.flatnonzero(blocks.cut)):
        if len(own):
            parts = max(1, round(float(np.ptp(blocks.times_s[own])) / WANDER_S))
            begins[[part[0] for part in np.array_split(own, parts)[1:] if len(part)]] = True
    return begins


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
