"""The offset along the video: constant, drifting, or jumping, and where the evidence supports it. Pure numpy.

`paths` finds the likeliest line and path of steps; here one of them is chosen (each parameter beyond a
constant has its price), measured piece by piece (`pieces`), and weighed against the evidence in stretches
(`stretches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from avsync.core.constants import FRAME_S, MIN_PROBABILITY, WINDOW_FRAMES
from avsync.core.records import Span
from avsync.core.report import Segment
from avsync.estimate.calibration import Calibration
from avsync.estimate.drift import drift_error, explains_better, is_clear, steady, straightened
from avsync.estimate.paths import best_line, block_likelihoods, likeliest_path
from avsync.estimate.peak import Evidence
from avsync.estimate.pieces import Piece, main_piece, pieces_of
from avsync.estimate.stretches import segments_of

UNSEEN_S = 1.0
"""Seconds without a window in which the offset may have jumped at any time."""


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
    pieces = pieces_of(found, blocks, path, base, calibration, 0.0, middle)
    drift = uncertainty = possible = None
    line = best_line(blocks, base)
    slope, error = line[0], drift_error(line[1], blocks, calibration)
    if np.isfinite(error):
        straight = straightened(found, slope, middle)
        line_blocks = block_likelihoods(straight, calibration)
        line_path, line_base, line_value = likeliest_path(
            line_blocks.values, calibration.change_cost, line_blocks.cut
        )
        sloping = pieces_of(straight, line_blocks, line_path, line_base, calibration, slope, middle)
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
    spans, begins = _places(found, pieces)
    segments: list[Segment] = []
    for piece, span, first, past in zip(pieces, spans, begins, [*begins[1:], None], strict=True):
        own = list(segments_of(found, blocks, piece, main, span, calibration))
        own[0] = replace(own[0], start_between_s=first)
        own[-1] = replace(own[-1], end_between_s=past)
        segments += own
    return Timeline(pieces, tuple(segments), drift, uncertainty, possible)


def _places(found: Evidence, pieces: Sequence[Piece]) -> tuple[list[Span], list[Span | None]]:
    """Where each piece begins and ends, and within which time it begins. Where nobody is seen before the next
    one, the offset may jump at any time in between, and a fault is only where it is seen."""
    starts = [float(found.times_s[piece.windows[0]]) for piece in pieces]
    seen = [float(found.times_s[piece.windows[-1]]) + WINDOW_FRAMES * FRAME_S for piece in pieces]
    ends, begins = [*starts[1:], seen[-1]], [piece.begins for piece in pieces]
    for number, (last_s, start_s) in enumerate(zip(seen, starts[1:], strict=False)):
        if start_s - last_s > UNSEEN_S:
            begins[number + 1] = last_s, start_s
            ends[number] = last_s if pieces[number].fault else start_s
    return list(zip(starts, ends, strict=True)), begins
