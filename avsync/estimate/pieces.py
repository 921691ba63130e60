"""The steps of the likeliest path as pieces of the video, each with its own measure. Pure numpy.

A step whose own offset, or whose difference from the rest, is not certain belongs to the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from avsync.core.constants import FRAME_S, MIN_PROBABILITY
from avsync.core.records import Span
from avsync.estimate.calibration import Calibration
from avsync.estimate.jumps import place
from avsync.estimate.paths import Blocks, Floats, Ints
from avsync.estimate.peak import Evidence, Measure, least_fit, measure, peculiarity

MIN_FAULT_OBSERVATIONS = 7
MIN_SHOT_OBSERVATIONS = 4
"""The same where the offset of the rest is clearly unlikely."""
CLEAR_RIVAL = 7.0
"""A shot with an offset that is likelier than that of the rest by this much (natural logarithm) is a fault.
None of 1,460 stretches of 1.5 to 4 s in sync exceeds 0.9 at an offset more than a frame away (val lists, also
with boxes 2 pixels off); of those off by 80 to 480 ms, 88 % of those of 2 s and 93 % of those of 3 s
reach it."""
REACH_S = 3.0
"""A change is looked for no further than this from where the blocks change."""
MIN_APART_MS = 55.0
"""A smaller difference is not a fault: one in twenty stretches of 3 s is measured a frame off."""
FACE_BIAS_MS = 100.0
"""Models may err by as much from one face to the next; a smaller difference must exceed the uncertainty."""


@dataclass(frozen=True)
class Piece:
    """Consecutive windows on one line: `windows` are their numbers, `measure.offset_ms` is the offset at
    `middle_s`, which changes by `slope` ms per second. `fault`: it differs from the rest of the video.
    `begins`: within which it begins, None for the first."""

    windows: Ints
    measure: Measure
    middle_s: float
    slope: float = 0.0
    fault: bool = False
    begins: Span | None = None

    def offset_at(self, time_s: float) -> float:
        """Offset in ms at a time of the video."""
        return self.measure.offset_ms + self.slope * (time_s - self.middle_s)


def main_piece(pieces: Sequence[Piece]) -> Piece:
    """What the video is measured by: of the pieces that are sure, the one with the most evidence."""
    return max(pieces, key=lambda p: (p.measure.probability >= MIN_PROBABILITY, p.measure.observations))


def pieces_of(
    found: Evidence,
    blocks: Blocks,
    path: Ints,
    base: int,
    calibration: Calibration,
    slope: float,
    middle_s: float,
) -> tuple[Piece, ...]:
    """The path's steps as pieces. A run whose own offset, or difference, is not certain belongs to the
    rest; otherwise the rest would consist of windows chosen to agree."""
    path = with_own_shots(blocks, path, base, calibration)
    runs = _runs(found, blocks, path, calibration)
    rest = _measured(found, [run.windows for run in runs if run.column == base], calibration)

    def apart(column: int, run: Ints) -> Measure | None:
        at_edge = column in (0, blocks.values.shape[1] - 1)
        if column == base or at_edge or rest.probability < MIN_PROBABILITY:
            return None
        own = _measured(found, [run], calibration)
        sure = own.probability >= MIN_PROBABILITY and own.observations >= MIN_FAULT_OBSERVATIONS
        total = blocks.values[np.unique(blocks.block[run])].sum(axis=0)
        if not sure and _is_shot(blocks, run) and total[column] - _about(total, base) >= CLEAR_RIVAL:
            # Only two offsets are compared, that of the file and this one.
            share = np.exp(total - np.logaddexp.reduce(total))[max(0, column - 1) : column + 2].sum()
            own = replace(own, probability=float(min(share, calibration.ceiling)))
            sure = own.probability >= MIN_PROBABILITY and own.observations >= MIN_SHOT_OBSERVATIONS
        agrees = fits(blocks, np.unique(blocks.block[run]), column, calibration)
        return own if sure and agrees and _differs(own, rest) else None

    measures = [apart(run.column, run.windows) for run in runs]
    others = [run.windows for run, own in zip(runs, measures, strict=True) if not own]
    rest = _measured(found, others, calibration)
    pieces = [
        Piece(run.windows, own or rest, middle_s, slope, begins=run.begins)
        for run, own in zip(runs, measures, strict=True)
    ]
    return _without_steps(_one_main(found, pieces, calibration))


def _one_main(found: Evidence, pieces: Sequence[Piece], calibration: Calibration) -> list[Piece]:
    """The same, told apart from what the video is measured by, which all that does not differ from it shares:
    else the answer would depend on which of two scenes that are nearly alike happens to be the rest."""
    main = main_piece(pieces).measure
    faults = [_differs(piece.measure, main) for piece in pieces]
    alike = [piece for piece, fault in zip(pieces, faults, strict=True) if not fault]
    if any(piece.measure is not main for piece in alike):
        main = _measured(found, [piece.windows for piece in alike], calibration)
    return [
        replace(piece, measure=piece.measure if fault else main, fault=fault)
        for piece, fault in zip(pieces, faults, strict=True)
    ]


def _without_steps(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The same, but neighbours with one measure as one."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].measure is piece.measure:
            windows = np.concatenate([joined[-1].windows, piece.windows])
            joined[-1] = replace(joined[-1], windows=windows)
        else:
            joined.append(piece)
    return tuple(joined)


def _is_shot(blocks: Blocks, run: Ints) -> bool:
    """Whether windows are those of whole shots, rather than selected by their scores."""
    first, past = int(blocks.block[run[0]]), int(blocks.block[run[-1]]) + 1
    return bool((first == 0 or blocks.cut[first]) and (past == len(blocks.cut) or blocks.cut[past]))


def fits(blocks: Blocks, own: Ints, column: int, calibration: Calibration) -> bool:
    """Whether the lips and the speech of the blocks `own` go together at the offset of a column at all, and
    neither half of them contradicts it, unless the offset is peculiar. A half does in hardly any stretch that
    is off. Of other people's speech that seems to be, it does in a third of 2 s, half of 4 s and four in five
    of 5 s (val lists)."""
    values = blocks.values[own]
    total = values.sum(axis=0)
    seconds = float(blocks.seconds[own][values.any(axis=1)].sum())
    least = calibration.contradiction * seconds / 2
    if peculiarity(total, column, seconds) >= calibration.peculiar:
        return True
    if any(_about(half.sum(axis=0), column) <= least for half in np.array_split(values, 2)):
        return False
    return bool(total[column] >= least_fit(seconds, calibration))


def with_own_shots(blocks: Blocks, path: Ints, base: int, calibration: Calibration) -> Ints:
    """The path, but each shot that lies on one column and is clearly likelier on another goes there: two
    steps cost more than two seconds of speech can pay. A frame to or fro within a fault does not matter."""
    edges = [0, *np.flatnonzero(blocks.cut).tolist(), len(path)]
    changed = path.copy()
    for first, past in pairwise(edges):
        total = blocks.values[first:past].sum(axis=0)
        best, own = int(total.argmax()), int(path[first])
        apart = abs(best - own) > 1 or abs(own - base) <= 1
        clear = total[best] - _about(total, own) >= CLEAR_RIVAL and fits(
            blocks, np.arange(first, past), best, calibration
        )
        if apart and clear and (path[first:past] == own).all():
            changed[first:past] = best
    return changed


def _about(total: Floats, column: int) -> float:
    """The most that `total` (n_shifts,) has within a column of one: an offset is known to a frame or so."""
    return float(total[max(0, column - 1) : column + 2].max())


def _measured(found: Evidence, runs: Sequence[Ints], calibration: Calibration) -> Measure:
    return measure(found.of(np.concatenate(runs)), calibration)


def _differs(apart: Measure, rest: Measure) -> bool:
    unsure = float(np.hypot(apart.uncertainty_ms, rest.uncertainty_ms))
    return abs(apart.offset_ms - rest.offset_ms) > min(max(unsure, MIN_APART_MS), FACE_BIAS_MS)


class _Run(NamedTuple):
    """The windows of one step of a path, on one column, and within which it begins, None for the first."""

    column: int
    windows: Ints
    begins: Span | None


def _runs(found: Evidence, blocks: Blocks, path: Ints, calibration: Calibration) -> list[_Run]:
    """The steps of the path, cut where the evidence turns."""
    cuts, columns = [0], [int(path[0])]
    begins: list[Span | None] = [None]
    steps = np.flatnonzero(np.diff(path)) + 1
    first = np.searchsorted(blocks.block, np.concatenate([[0], steps, [len(path)]]))
    for i, b in enumerate(steps, 1):
        columns.append(int(path[b]))
        begin_s = found.times_s[first[i]]
        near = np.arange(first[i - 1], first[i + 1])
        near = near[np.abs(found.times_s[near] - begin_s) <= REACH_S]
        change = place(found, near, (columns[-2], columns[-1]), calibration)
        cut = int(near[0] + np.searchsorted(found.times_s[near], change.at_s - FRAME_S / 2))
        cuts.append(max(cut, cuts[-1] + 1))
        begins.append(change.between)
    windows = np.split(np.arange(len(found.rows)), cuts[1:])
    return [run for run in map(_Run, columns, windows, begins) if len(run.windows)]
