"""Which parts of a video were judged, which were not and why; and its scores along time. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from avsync.core.constants import (
    FRAME_MS,
    FRAME_RATE,
    FRAME_S,
    MIN_PROBABILITY,
    SPEECH_PROBABILITY,
    WINDOW_FRAMES,
)
from avsync.core.records import FaceTrack, Gap, Scores, Span, Speech
from avsync.core.report import Cause, Fault, Offset, ScoreMap, Segment, Unjudged
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import combine
from avsync.estimate.peak import Evidence, block_sums, evidence, measure
from avsync.estimate.speakers import COUNTED

Mask = npt.NDArray[np.bool_]

MAX_SPANS = 160
"""Columns of a score map: about as many as can be distinguished on a page."""
MIN_SPAN_S = 0.4
"""Windows closer together than this are nearly redundant."""


def unjudged(
    tracks: Iterable[FaceTrack],
    scores: Sequence[Scores],
    weights: Sequence[npt.ArrayLike],
    segments: Sequence[Segment],
    duration_s: float,
    stride: int = 1,
    looked_at: Sequence[Span] | None = None,
    missed: Cause = "stopped",
    gaps: Sequence[Gap] = (),
    quiet: Sequence[Span] = (),
) -> tuple[Unjudged, ...]:
    """The stretches of a video that the answer does not cover, in order of time.

    `weights` (0..1) is how much each of `scores`, or each of its windows, counts, `segments` is the answer.
    A moment is judged when the windows of a face that counts lie there, and the segment there has an
    offset. `looked_at` are the stretches (start, end) that were looked at, in seconds (None: all of it),
    `missed` is why the rest was not; in `gaps` there are no frames, and in `quiet` nobody speaks. A stretch
    shorter than a window is merged with its neighbour.
    """
    size = max(1, math.ceil(duration_s * FRAME_RATE))
    reach = max(WINDOW_FRAMES, stride)
    looked, seen, compared, heard, counted, answered = (np.zeros(size, bool) for _ in range(6))
    empty, damaged, silent = (np.zeros(size, bool) for _ in range(3))
    for start, end in [(0.0, duration_s + 1)] if looked_at is None else looked_at:
        looked[round(start * FRAME_RATE) : round(end * FRAME_RATE)] = True
    for gap in gaps:
        mask = damaged if gap.damaged else empty
        mask[math.floor(gap.start_s * FRAME_RATE) : math.ceil(gap.end_s * FRAME_RATE)] = True
    for start, end in quiet:
        silent[math.ceil(start * FRAME_RATE) : math.floor(end * FRAME_RATE)] = True
    for track in tracks:
        first = round(track.start_s * FRAME_RATE)
        _mark(seen, first + np.flatnonzero(track.seen), 1)
    for score, weight in zip(scores, weights, strict=True):
        starts = np.rint(score.times_s * FRAME_RATE).astype(np.int64)
        # With less than half of the candidates, the audio of the window itself is missing.
        audible = np.isfinite(score.logits).mean(axis=1) >= 0.5
        _mark(compared, starts, reach)
        _mark(heard, starts[audible], reach)
        _mark(counted, starts[audible & (np.asarray(weight) >= COUNTED)], reach)
    for segment in segments:
        if segment.offset_ms is not None:
            past = round(segment.end_s * FRAME_RATE) + reach - WINDOW_FRAMES
            answered[round(segment.start_s * FRAME_RATE) : past] = True
    # Where nobody speaks faces were not looked for, nor lips read, so that nothing counts there.
    seen |= silent
    compared |= silent
    heard |= silent
    unlike: tuple[tuple[Mask, Cause], ...] = (
        (~looked, missed),
        (empty, "no-frames"),
        (damaged, "damaged"),
        (~seen, "no-face"),
        (~compared, "seen-too-briefly"),
        (~heard, "no-audio"),
        (~counted, "not-speaking"),
        (~answered, "too-little-evidence"),
    )
    number = np.select([mask for mask, _ in unlike], np.arange(1, len(unlike) + 1), 0)
    # A window says something of the frames beside it, also where the face is not seen in all of them.
    number[counted & answered] = 0
    causes: list[tuple[Cause, float | None]] = [(cause, None) for _, cause in unlike]
    for gap in (s for s in segments if s.hint_ms is not None):
        inside = slice(round(gap.start_s * FRAME_RATE), round(gap.end_s * FRAME_RATE))
        causes.append(("too-little-evidence", gap.hint_ms))
        number[inside][number[inside] == len(unlike)] = len(causes)
    return tuple(
        Unjudged(first * FRAME_S, min(past * FRAME_S, duration_s), *causes[which - 1])
        for first, past, which in _runs(number)
        if which
    )


def _mark(mask: Mask, starts: npt.NDArray[np.int64], reach: int) -> None:
    """Sets `reach` frames from each start on."""
    for step in range(reach):
        inside = starts + step
        mask[inside[(inside >= 0) & (inside < len(mask))]] = True


def _runs(values: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(first, past, value) of the runs of equal values, (n,); what is shorter than a window goes with the
    run before it, or at the start with the one after it."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    runs: list[tuple[int, int, int]] = []
    for first, past in pairwise(edges):
        value = int(values[first])
        if runs and (past - first < WINDOW_FRAMES or value == runs[-1][2]):
            runs[-1] = (runs[-1][0], past, runs[-1][2])
        elif runs and runs[-1][1] - runs[-1][0] < WINDOW_FRAMES:
            runs[-1] = (runs[-1][0], past, value)
        else:
            runs.append((first, past, value))
    return runs


def without_mismatches(found: Sequence[Unjudged], faults: Sequence[Fault]) -> tuple[Unjudged, ...]:
    """What was not judged, without the speech of a mismatch, which was."""
    kept = list(found)
    for fault in (fault for fault in faults if fault.kind == "mismatch"):
        kept = [
            replace(part, start_s=start_s, end_s=end_s)
            for part in kept
            for start_s, end_s in (
                [(part.start_s, min(part.end_s, fault.start_s)), (max(part.start_s, fault.end_s), part.end_s)]
                if part.cause in ("not-speaking", "too-little-evidence")
                else [(part.start_s, part.end_s)]
            )
            if end_s - start_s >= WINDOW_FRAMES * FRAME_S
        ]
    return tuple(kept)


def judged_parts(segments: Iterable[Segment], unjudged: Sequence[Unjudged]) -> list[Segment]:
    """The segments that have an offset, without the stretches inside them that were not judged."""
    parts = []
    for segment in segments:
        if segment.offset_ms is None:
            continue
        start = segment.start_s
        for stretch in unjudged:
            if start < stretch.end_s and stretch.start_s < segment.end_s:
                if stretch.start_s > start:
                    parts.append(_part(segment, start, stretch.start_s))
                start = stretch.end_s
        if start < segment.end_s:
            parts.append(_part(segment, start, segment.end_s))
    return parts


def _part(segment: Segment, start_s: float, end_s: float) -> Segment:
    """The part of a segment between two times; only what is left of its ends has their intervals."""
    begins = segment.start_between_s if start_s == segment.start_s else None
    ends = segment.end_between_s if end_s == segment.end_s else None
    return replace(segment, start_s=start_s, end_s=end_s, start_between_s=begins, end_between_s=ends)


def with_own_offsets(
    parts: Sequence[Segment],
    scores: Sequence[Scores],
    weights: Sequence[npt.ArrayLike],
    calibration: Calibration,
) -> tuple[Segment, ...]:
    """Each judged stretch with its own offset, if its windows alone determine one."""
    found = evidence(combine(scores), calibration, _in_order(scores, weights))
    return tuple(replace(part, own_offset_ms=_own_offset(part, found, calibration)) for part in parts)


def _own_offset(part: Segment, found: Evidence, calibration: Calibration) -> float | None:
    inside = (found.times_s >= part.start_s) & (found.times_s < part.end_s)
    if not inside.any():
        return None
    measured = measure(found.of(inside), calibration)
    return measured.offset_ms if measured.probability >= MIN_PROBABILITY else None


def _in_order(scores: Sequence[Scores], weights: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """The weights of all windows as `combine` orders them."""
    times = np.concatenate([score.times_s for score in scores])
    trust = [
        np.broadcast_to(weight, score.times_s.shape) for score, weight in zip(scores, weights, strict=True)
    ]
    return np.concatenate(trust)[np.argsort(times, kind="stable")].astype(np.float64)


def talked(
    speech: Speech,
    scores: Sequence[Scores],
    moving: Sequence[Mask],
    unjudged: Sequence[Unjudged],
    duration_s: float,
    stride: int = 1,
) -> tuple[float, float]:
    """Seconds of speech over visible talking faces, and those of them that were judged.

    A face talks where its mouth moves, `moving` (n_windows,) by score, and where it was judged. Parts
    that the speech detector skipped count as having the same share.
    """
    size = max(1, math.ceil(duration_s * FRAME_RATE))
    talking, judged = np.zeros(size, bool), np.ones(size, bool)
    for score, moves in zip(scores, moving, strict=True):
        starts = np.rint(score.times_s[moves] * FRAME_RATE).astype(np.int64)
        _mark(talking, starts, max(WINDOW_FRAMES, stride))
    for stretch in unjudged:
        judged[round(stretch.start_s * FRAME_RATE) : round(stretch.end_s * FRAME_RATE)] = False
    known = np.isfinite(speech.probability)
    middles = speech.start_s + (np.arange(len(known)) + 0.5) * speech.step_s
    frames = np.clip(middles * FRAME_RATE, 0, size - 1).astype(np.int64)
    heard = known & (speech.probability >= SPEECH_PROBABILITY) & (middles >= 0) & (middles < duration_s)
    each_s = speech.step_s * len(known) / max(1, int(known.sum()))
    seen = heard & (talking | judged)[frames]
    return float(seen.sum() * each_s), float((seen & judged[frames]).sum() * each_s)


def why_not(offset: Offset | None, weight: float) -> Cause | None:
    """Why a face was not judged; None when it was. `offset` is its own, None where no window was scored."""
    if offset is None:
        return "seen-too-briefly"
    if offset.offset_ms is None:
        return "no-audio"
    if weight >= COUNTED:
        return None
    # Fewer observations than MIN_BLOCKS say nothing of their own noise, which leaves the evidence at 0.
    return "too-little-evidence" if offset.evidence == 0 else "not-speaking"


def score_map(
    scores: Sequence[Scores], weights: Sequence[npt.ArrayLike], calibration: Calibration
) -> ScoreMap | None:
    """The mean log-likelihood ratio at each offset along the video; None when no window can be compared.

    `weights` (0..1) is how much each of `scores`, or each of its windows, counts. There are at most
    MAX_SPANS spans of equal length.
    """
    found = evidence(combine(scores), calibration, _in_order(scores, weights))
    if not len(found.rows):
        return None
    start, end = float(found.times_s[0]), float(found.times_s[-1]) + WINDOW_FRAMES * FRAME_S
    step = max(MIN_SPAN_S, (end - start) / MAX_SPANS)
    sums, counts = block_sums(found, np.floor((found.times_s - start) / step + 1e-6).astype(np.int64))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(counts > 0, sums / counts, np.nan).astype(np.float32)
    offsets = -FRAME_MS * found.shifts - calibration.bias_ms
    return ScoreMap(start, step, offsets.astype(np.float64), values)
