"""From a Report to the stretches of its video that are worth training on, and why the rest is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from avsync.core.records import Span
from avsync.core.report import Report, Segment, TrackReport, Turn
from avsync.core.tolerance import exceeds
from avsync.curate.criteria import Criteria

Why = Literal[
    "error", "not-judged", "mismatch", "drift", "nobody-visible", "not-sure", "too-short", "too-small",
    "little-speech",
]  # fmt: skip
"""Codes for why speech is dropped, in the order in which they are tested."""

TimedBox = tuple[float, float, float, float, float]
"""The time in seconds, and x1, y1, x2, y2 as fractions of the frame."""
PAUSE_S = 1.0
"""Longest pause of a speaker within a stretch."""
LEAST_S = 0.04
"""Shorter remainders of a turn are not listed."""


@dataclass(frozen=True)
class Stretch:
    """[start_s, end_s) of a video in which one track's lips say all the speech.

    `offset_ms`: how early the audio is. `boxes`: the face, about once a second.
    """

    start_s: float
    end_s: float
    track: int
    offset_ms: float
    uncertainty_ms: float | None
    probability: float
    speaking: float
    speech_share: float
    face_px: float
    boxes: tuple[TimedBox, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """Speech in [start_s, end_s) that is dropped, and why."""

    start_s: float
    end_s: float
    why: Why


@dataclass(frozen=True)
class Selection:
    """Kept and dropped stretches of one video, each in order of time."""

    kept: tuple[Stretch, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True)
class _Run:
    """Consecutive turns of one track, and the speech in them."""

    track: int | None
    start_s: float
    end_s: float
    speech: tuple[Span, ...]
    probability: float
    segment: Segment | None = field(default=None)


def select(report: Report, frame_height_px: int, criteria: Criteria) -> Selection:
    """The stretches of a report that meet the criteria; `frame_height_px` is the height of its video."""
    whole = Dropped(0.0, report.duration_s or 0.0, "error")
    if report.verdict == "error":
        return Selection(dropped=(whole,))
    if report.verdict == "mismatch":
        return Selection(dropped=_all(report, "mismatch"))
    if exceeds(report.drift_ms_per_min, report.max_drift_ms_per_min):
        return Selection(dropped=_all(report, "drift"))
    if report.offset_ms is None or report.verdict == "cannot-tell":
        return Selection(dropped=_all(report, "not-sure"))
    kept: list[Stretch] = []
    dropped: list[Dropped] = []
    tracks = {track.track: track for track in report.tracks}
    for run in _runs(report.turns):
        if run.track is None:
            dropped.append(Dropped(run.start_s, run.end_s, "nobody-visible"))
            continue
        for part in _judged(run, report.segments):
            for piece in _cut(part, criteria.max_length_s):
                found = _weighed(piece, tracks[run.track], frame_height_px, criteria)
                (kept if isinstance(found, Stretch) else dropped).append(found)  # pyright: ignore[reportArgumentType]
    return Selection(tuple(kept), tuple(dropped))


def _all(report: Report, why: Why) -> tuple[Dropped, ...]:
    spoken = tuple(Dropped(turn.start_s, turn.end_s, why) for turn in report.turns)
    return spoken or (Dropped(0.0, report.duration_s or 0.0, why),)


def _runs(turns: Sequence[Turn]) -> Iterator[_Run]:
    """Merge turns of one track with short pauses between them."""
    run: _Run | None = None
    for turn in turns:
        if run and run.track == turn.track and turn.start_s - run.end_s <= PAUSE_S:
            run = replace(
                run,
                end_s=turn.end_s,
                speech=(*run.speech, (turn.start_s, turn.end_s)),
                probability=min(run.probability, turn.probability),
            )
            continue
        if run:
            yield run
        run = _Run(turn.track, turn.start_s, turn.end_s, ((turn.start_s, turn.end_s),), turn.probability)
    if run:
        yield run


def _judged(run: _Run, segments: Sequence[Segment]) -> Iterator[_Run]:
    """Split a run into judged segments of one offset each, and the parts between them."""
    at = run.start_s
    for segment in _joined(segments):
        start, end = max(at, segment.start_s), min(run.end_s, segment.end_s)
        if end - start < LEAST_S:
            continue
        if start - at >= LEAST_S:
            yield replace(run, start_s=at, end_s=start)
        yield replace(run, start_s=start, end_s=end, segment=segment)
        at = end
    if run.end_s - at >= LEAST_S:
        yield replace(run, start_s=at)


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Merge adjacent segments with the same offset; the result has the higher probability."""
    joined: list[Segment] = []
    for after in segments:
        last = joined[-1] if joined else None
        if last and last.offset_ms == after.offset_ms and after.start_s - last.end_s < LEAST_S:
            probability = max(last.probability, after.probability)
            joined[-1] = replace(last, end_s=after.end_s, probability=probability)
        else:
            joined.append(after)
    return joined


def _cut(run: _Run, longest_s: float) -> Iterator[_Run]:
    count = max(1, math.ceil((run.end_s - run.start_s) / longest_s))
    edges = np.linspace(run.start_s, run.end_s, count + 1).tolist()
    for start, end in pairwise(edges):
        yield replace(run, start_s=start, end_s=end)


def _weighed(run: _Run, track: TrackReport, frame_height_px: int, criteria: Criteria) -> Stretch | Dropped:
    segment = run.segment
    if segment is None or segment.offset_ms is None:
        return Dropped(run.start_s, run.end_s, "not-judged")
    # The speech begins at start_s; the lips move later if the audio is early.
    later_s = segment.offset_ms / 1000
    start_s, end_s = max(track.start_s, run.start_s + later_s), min(track.end_s, run.end_s + later_s)
    length = max(0.0, end_s - start_s)
    boxes = _during(track, start_s, end_s)
    face_px = float(np.median([box[4] - box[2] for box in boxes])) * frame_height_px if boxes else 0.0
    spoken = sum(
        max(0.0, min(end_s, past + later_s) - max(start_s, first + later_s)) for first, past in run.speech
    )
    failed: tuple[tuple[Why, bool], ...] = (
        ("not-sure", min(segment.probability, run.probability) < criteria.min_probability),
        ("too-short", length < criteria.min_length_s - 1e-6),
        ("too-small", face_px < criteria.min_face_px),
        ("little-speech", spoken < criteria.min_speech * length),
    )
    for why, is_so in failed:
        if is_so:
            return Dropped(run.start_s, run.end_s, why)
    return Stretch(
        start_s,
        end_s,
        track.track,
        segment.offset_ms,
        segment.uncertainty_ms,
        segment.probability,
        run.probability,
        spoken / length,
        face_px,
        boxes,
    )


def _during(
    track: TrackReport, start_s: float, end_s: float
) -> tuple[tuple[float, float, float, float, float], ...]:
    """The boxes within a stretch, and the nearest before and after."""
    inside = [i for i, box in enumerate(track.boxes) if start_s <= box[0] < end_s]
    before = [i for i, box in enumerate(track.boxes) if box[0] < start_s][-1:]
    after = [i for i, box in enumerate(track.boxes) if box[0] >= end_s][:1]
    return tuple(track.boxes[i] for i in (*before, *inside, *after))
