"""Whether the offset drifts, how surely, and how large a drift the evidence cannot exclude. Pure numpy.

`paths.best_line` finds the likeliest slope; `timeline` asks here whether it is a drift.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avsync.core.constants import FRAME_MS
from avsync.estimate.calibration import Calibration
from avsync.estimate.paths import Blocks, Ints, best_line, bias_of_slope
from avsync.estimate.peak import Evidence

MAX_DRIFT_ERROR = 40.0
"""A drift known no better than this (95 %, ms per minute) is not reported."""
CLEAR_DRIFT = 1.4
"""A drift is at least so many times half its 95 % interval. Of 180 programmes of a minute without a drift
(val clips; avsync-4, its weights before, and avsync-3) one has a drift that is clearer than this; of 120 with
one of 60 ms a minute, 106 have it (research/programmes/drifts.py)."""
CLEAR_IN_ONE_SHOT = 1.6
"""The same with fewer than SEVERAL_SHOTS, where one face that turns has a slope of its own: of 26 clips of
10 s and more one is as clear as 1.5 with avsync-4, none with the others."""
SEVERAL_SHOTS = 4


def drift_error(error: float, blocks: Blocks, calibration: Calibration) -> float:
    """Half the 95 % interval of a slope, ms per second, from that of the evidence, `error`, and the bias of
    each shot."""
    return float(np.hypot(error * calibration.spread, bias_of_slope(blocks, calibration.floor_ms)))


def is_clear(slope: float, error: float, shots: int) -> bool:
    """Whether a slope stands clear of half its 95 % interval, `error`; both in ms per second. `shots`: by how
    many it is known."""
    return abs(slope) > (CLEAR_DRIFT if shots >= SEVERAL_SHOTS else CLEAR_IN_ONE_SHOT) * error


def explains_better(sloped: float, level: float, cost: float, n_blocks: int) -> bool:
    """Whether a drift is worth its price, `cost`: `sloped` and `level` are the log-likelihoods with and
    without one. It must beat a blind guess, too: of many lines, one fits noise better than any constant does.
    """
    return sloped - level > cost and sloped - cost > np.log(n_blocks)


def steady(
    blocks: Blocks, windows: Ints, calibration: Calibration
) -> tuple[float | None, float | None, float | None]:
    """(0, half the 95 % interval of the drift) where what has one offset, `windows`, is known not to drift,
    else (None, None); and the largest drift that cannot be excluded, None where that is not known. All in ms
    per minute."""
    own = np.unique(blocks.block[windows])
    part = {name: getattr(blocks, name)[own] for name in ("times_s", "values", "cut", "seconds")}
    level = replace(blocks, **part)
    slope, error, *_ = best_line(level, int(level.values.sum(axis=0).argmax()))
    error = drift_error(error, level, calibration)
    possible = 60 * (abs(slope) + error) if np.isfinite(error) else None
    if abs(slope) <= error <= MAX_DRIFT_ERROR / 60:
        return 0.0, 60 * error, possible
    return None, None, possible


def straightened(found: Evidence, slope: float, middle_s: float) -> Evidence:
    """The evidence as it would be without a drift of `slope` ms per second around `middle_s`."""
    step = float(found.shifts[1] - found.shifts[0])
    moves = np.rint(-slope * (found.times_s - middle_s) / FRAME_MS / step).astype(np.int64)
    columns = np.arange(found.rows.shape[1]) + moves[:, None]
    inside = (columns >= 0) & (columns < found.rows.shape[1])
    rows, logits = (
        np.where(inside, np.take_along_axis(table, columns.clip(0, table.shape[1] - 1), axis=1), np.nan)
        for table in (found.rows, found.logits)
    )
    return replace(found, rows=rows, logits=logits).of(np.flatnonzero(np.isfinite(rows).any(axis=1)))
