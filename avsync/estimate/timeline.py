"""The offset along the video: constant, drifting, or jumping, and where the evidence supports it. Pure numpy.

`paths` finds the likeliest line and path of steps; here one of them is chosen (each parameter beyond a
constant has its price), measured piece by piece, and weighed against the evidence in stretches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from avsync.core.constants import FRAME_MS, FRAME_S, MIN_PROBABILITY, WINDOW_FRAMES
from avsync.core.records import Span
from avsync.core.report import Segment
from avsync.estimate.calibration import CEILING, Calibration
from avsync.estimate.drift import drift_error, explains_better, is_clear, steady, straightened
from avsync.estimate.jumps import place
from avsync.estimate.paths import (
    Blocks,
    Floats,
    Ints,
    best_line,
    block_likelihoods,
    likeliest_path,
)
from avsync.estimate.peak import Evidence, Measure, is_peculiar, least_fit, measure

STRETCH_S = 10.0
"""Evidence along the video is weighed in stretches of about this length; one with too little is a gap."""
MAX_STRETCHES = 120
MIN_STRETCH_S = 1.0
"""No stretch of evidence ends at a cut nearer than this to its piece's end."""
STRETCH_OBSERVATIONS = 20
"""Where windows are sparse, a stretch is longer, so as to hold about this many independent ones."""
STRETCH_CERTAINTY = 0.5
"""Probability, from a stretch alone, that it has the offset of its piece, for it to count as judged."""
UNFIT = -2.0
"""Sum of log-likelihood ratios at or below which a stretch has no offset of its own. The best offset of
noise comes to about -3 in three seconds and to -10 in ten; that of speech to 0 and more."""
MIN_FAULT_OBSERVATIONS = 7
MIN_SHOT_OBSERVATIONS = 4
"""The same where the offset of the rest is clearly unlikely."""
CLEAR_RIVAL = 6.0
"""A shot with an offset that is likelier than that of the rest by this much (natural logarithm) is a fault.
None of 1,400 shots of 1.6 to 4 s in sync exceeds 3.4 (val lists, also with boxes 2 pixels off); of shots off
by 80 to 500 ms, 93 % of those of 2 s and 97 % of those of 3 s reach it."""
REACH_S = 3.0
"""A change is looked for no further than this from where the blocks change."""
MIN_APART_MS = 55.0
"""A smaller difference is not a fault: one in twenty stretches of 3 s is measured a frame off."""
FACE_BIAS_MS = 100.0
"""Models may err by as much from one face to the next; a smaller difference must exceed the uncertainty."""
CONTRADICTION = 0.02
"""Probability at or below which a stretch contradicts the offset of its piece."""


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


@dataclass(frozen=True)
class Timeline:
    """`pieces` in order of time: one for a constant or drifting video, several where it jumps; those that are
    no fault share one measure. Drift and half its 95 % interval are in ms a minute, None when not known."""

    pieces: tuple[Piece, ...]
    segments: tuple[Segment, ...]
    drift_ms_per_min: float | None
    drift_uncertainty: float | None
    drift_possible: float | None = None
    """Size of the largest drift that the evidence cannot exclude, where none is found."""


def timeline(found: Evidence, calibration: Calibration) -> Timeline:
    """Choose among a constant offset and a drift, with the stretches that differ from it, and weigh the
    evidence along the video.

    `found` has at least one window; its windows are in order of time.
    """
    middle = float(found.times_s[0] + found.times_s[-1]) / 2
    blocks = block_likelihoods(found, calibration)
    path, base, value = likeliest_path(blocks.values, calibration.change_cost, blocks.cut)
    pieces = _pieces(found, blocks, path, base, calibration, 0.0, middle)
    drift = uncertainty = possible = None
    line = best_line(blocks, base)
    slope, error = line[0], drift_error(line[1], blocks, calibration)
    if np.isfinite(error):
        straight = straightened(found, slope, middle)
        line_blocks = block_likelihoods(straight, calibration)
        line_path, line_base, line_value = likeliest_path(
            line_blocks.values, calibration.change_cost, line_blocks.cut
        )
        sloping = _pieces(straight, line_blocks, line_path, line_base, calibration, slope, middle)
        # Steps that are no faults come of the bias of each face, and are no other explanation.
        jumps = any(piece.fault for piece in (*pieces, *sloping))
        sloped, level = (max(line[2], line_value), max(line[3], value)) if jumps else line[2:]
        likelier = explains_better(sloped, level, calibration.change_cost, len(blocks.values))
        sure = main_piece(sloping).measure.probability >= MIN_PROBABILITY
        if likelier and is_clear(slope, error, 1 + int(blocks.cut.sum())) and sure:
            found, blocks, pieces = straight, line_blocks, sloping
            drift, uncertainty = 60 * slope, 60 * error
    main = main_piece(pieces).measure
    if drift is None and main.probability >= MIN_PROBABILITY:
        own = np.concatenate([piece.windows for piece in pieces if piece.measure is main])
        drift, uncertainty, possible = steady(blocks, own, calibration)
    starts = [float(found.times_s[piece.windows[0]]) for piece in pieces]
    ends = [*starts[1:], float(found.times_s[-1]) + WINDOW_FRAMES * FRAME_S]
    begins = [piece.begins for piece in pieces]
    segments: list[Segment] = []
    spans = zip(pieces, starts, ends, begins, [*begins[1:], None], strict=True)
    for piece, start_s, end_s, first, past in spans:
        own = list(_segments(found, blocks, piece, start_s, end_s, calibration))
        own[0] = replace(own[0], start_between_s=first)
        own[-1] = replace(own[-1], end_between_s=past)
        segments += own
    return Timeline(pieces, tuple(segments), drift, uncertainty, possible)


def main_piece(pieces: Sequence[Piece]) -> Piece:
    """What the video is measured by: of the pieces that are sure, the one with the most evidence."""
    return max(pieces, key=lambda p: (p.measure.probability >= MIN_PROBABILITY, p.measure.observations))


def _pieces(
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
    path = with_own_shots(blocks, path, base)
    runs = _runs(found, blocks, path, calibration)
    rest = _measured(found, [run.windows for run in runs if run.column == base], calibration)

    def apart(column: int, run: Ints) -> Measure | None:
        at_edge = column in (0, blocks.values.shape[1] - 1)
        if column == base or at_edge or rest.probability < MIN_PROBABILITY:
            return None
        own = _measured(found, [run], calibration)
        sure = own.probability >= MIN_PROBABILITY and own.observations >= MIN_FAULT_OBSERVATIONS
        total = blocks.values[np.unique(blocks.block[run])].sum(axis=0)
        if not sure and _is_shot(blocks, run) and total[column] - total[base] >= CLEAR_RIVAL:
            # Only two offsets are compared, that of the file and this one.
            share = np.exp(total - np.logaddexp.reduce(total))[max(0, column - 1) : column + 2].sum()
            own = replace(own, probability=float(min(share, CEILING)))
            sure = own.probability >= MIN_PROBABILITY and own.observations >= MIN_SHOT_OBSERVATIONS
        fits = _fits(blocks, np.unique(blocks.block[run]), column)
        return own if sure and fits and _differs(own, rest) else None

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


def _fits(blocks: Blocks, own: Ints, column: int) -> bool:
    """Whether the lips and the speech of the blocks `own` go together at the offset of a column at all."""
    values = blocks.values[own]
    total = values.sum(axis=0)
    seconds = values.any(axis=1).sum() * blocks.seconds
    return bool(total[column] >= least_fit(seconds)) or is_peculiar(total, column, seconds)


def with_own_shots(blocks: Blocks, path: Ints, base: int) -> Ints:
    """The path, but each shot that lies on one column and is clearly likelier on another goes there: two
    steps cost more than two seconds of speech can pay. A frame to or fro within a fault does not matter."""
    edges = [0, *np.flatnonzero(blocks.cut).tolist(), len(path)]
    changed = path.copy()
    for first, past in pairwise(edges):
        total = blocks.values[first:past].sum(axis=0)
        best, own = int(total.argmax()), int(path[first])
        apart = abs(best - own) > 1 or abs(own - base) <= 1
        clear = total[best] - total[own] >= CLEAR_RIVAL and _fits(blocks, np.arange(first, past), best)
        if apart and clear and (path[first:past] == own).all():
            changed[first:past] = best
    return changed


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


def _segments(
    found: Evidence, blocks: Blocks, piece: Piece, start_s: float, end_s: float, calibration: Calibration
) -> Iterator[Segment]:
    """Neighbouring stretches of a piece that are judged, or that are gaps, as one segment each."""
    m = piece.measure
    times = found.times_s[piece.windows]
    observed = len(np.unique(np.floor((times - times[0]) / calibration.dependence_s + 1e-6)))
    edges = _edges(found, start_s, end_s, observed)
    count = len(edges) - 1
    stretch = np.searchsorted(edges[1:-1], times, side="right")
    if m.probability < MIN_PROBABILITY:
        states = [_Weight(False)] * count
    elif observed >= m.observations and count == 1:
        states = [_Weight(True)]
    else:
        states = [_weight(found, blocks, m, piece.windows[stretch == i]) for i in range(count)]
    first = 0
    for past in range(1, count + 1):
        if past < count and states[past] == states[first] and _flat(piece, edges[first], edges[past + 1]):
            continue
        span = float(edges[first]), float(edges[past])
        if states[first].judged:
            offset = piece.offset_at(sum(span) / 2)
            yield Segment(*span, offset, m.uncertainty_ms, m.probability, piece.fault)
        else:
            hint = states[first].hint_ms
            yield Segment(
                *span,
                None,
                None,
                min(m.probability, MIN_PROBABILITY / 2),
                hint_ms=None if hint is None else hint + piece.offset_at(sum(span) / 2),
                against=states[first].against,
            )
        first = past


def _edges(found: Evidence, start_s: float, end_s: float, observed: int) -> Floats:
    """Where the stretches of a piece with this many observations begin and end: at cuts, and in between so
    that none is much longer than STRETCH_S."""
    inside = found.cuts[(found.cuts > start_s + MIN_STRETCH_S) & (found.cuts < end_s - MIN_STRETCH_S)]
    if len(inside) >= MAX_STRETCHES:
        inside = inside[:: -(-len(inside) // MAX_STRETCHES)]
    bounds = [start_s, *inside.tolist(), end_s]
    edges = [start_s]
    for first, past in pairwise(bounds):
        part = observed * (past - first) / max(end_s - start_s, 1e-9)
        count = max(
            1, min(round((past - first) / STRETCH_S), int(part // STRETCH_OBSERVATIONS), MAX_STRETCHES)
        )
        edges += np.linspace(first, past, count + 1)[1:].tolist()
    return np.array(edges)


def _flat(piece: Piece, start_s: float, end_s: float) -> bool:
    """Whether the offset changes by no more than a frame between two times."""
    return abs(piece.slope) * (end_s - start_s) <= FRAME_MS


class _Weight(NamedTuple):
    """Whether a stretch supports its piece; the offset that it points to instead, if any, as the difference
    in ms; whether it contradicts its piece's offset, for another one or for none."""

    judged: bool
    hint_ms: float | None = None
    against: bool = False


def _weight(found: Evidence, blocks: Blocks, m: Measure, windows: Ints) -> _Weight:
    """What the blocks of these windows alone say about the offset of their piece."""
    if not len(windows):
        return _Weight(False)
    total = blocks.values[np.unique(blocks.block[windows])].sum(axis=0)
    share = np.exp(total - total.max())
    apart = -FRAME_MS * found.shifts - m.offset_ms
    near = np.abs(apart) <= 1.5 * FRAME_MS
    certainty = float(share[near].sum() / share.sum())
    best = int(total.argmax())
    contradicts = certainty <= CONTRADICTION
    hint = float(apart[best]) if contradicts and total[best] > UNFIT else None
    # A blind guess must beat the offset as clearly as the others do.
    against = contradicts and bool(total[near].max(initial=-np.inf) < np.log(CONTRADICTION))
    return _Weight(certainty >= STRETCH_CERTAINTY, hint, against)
