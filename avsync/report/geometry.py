"""What a chart of a report shows and the extent of its axes, shared by the page, the plot and the overlay.

Times in seconds of the video, offsets in ms, early above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avsync.core.records import Span
from avsync.core.report import Report, Segment
from avsync.core.tolerance import own_offset, within

ROOM_MS = 60.0
"""Margin above and below the offsets shown."""


@dataclass(frozen=True)
class Stretch:
    """A measured stretch: its offset with half the width of the 95 % interval, and the number of its face
    (None: all faces together). `own`: measured in this stretch of this face alone, rather than merely
    agreeing with the rest."""

    start_s: float
    end_s: float
    offset_ms: float
    spread_ms: float
    face: int | None
    own: bool
    bad: bool


@dataclass(frozen=True)
class Extent:
    """Times [start_s, end_s] and offsets [low_ms, high_ms] that a chart shows."""

    start_s: float
    end_s: float
    low_ms: float
    high_ms: float


def stretches(report: Report) -> list[Stretch]:
    """The measured stretches of every face that counted, in order of time; those of the whole video if the
    report has none per face."""
    of_faces = [
        _stretch(part, track.track, report.tolerance_ms)
        for track in report.tracks
        if track.cause is None
        for part in track.segments
    ]
    of_all = [_stretch(part, None, report.tolerance_ms) for part in judged(report)]
    return sorted(of_faces or of_all, key=lambda stretch: (stretch.start_s, stretch.face or 0))


def judged(report: Report) -> list[Segment]:
    """The stretches that have an offset, in order of time."""
    return [part for part in report.segments if part.offset_ms is not None]


def mismatches(report: Report) -> list[Span]:
    """The stretches whose lips do not match the speech: they have no offset, but are no mere gaps."""
    return [(fault.start_s, fault.end_s) for fault in report.faults if fault.kind == "mismatch"]


def extent(report: Report, shown: Sequence[Stretch]) -> Extent:
    """The whole file, and a range that holds the offsets shown and the tolerance, with a margin."""
    early, late = report.tolerance_ms
    values = [stretch.offset_ms for stretch in shown]
    ends = [stretch.end_s for stretch in shown]
    return Extent(
        0.0,
        max([report.duration_s or 0.0, *ends]) or 1.0,
        min([-late, *values]) - ROOM_MS,
        max([early, *values]) + ROOM_MS,
    )


def _stretch(part: Segment, face: int | None, tolerance_ms: tuple[float, float]) -> Stretch:
    offset_ms = own_offset(part)
    spread = part.uncertainty_ms or 0.0
    sure = part.own_offset_ms is not None
    bad = not within(offset_ms, tolerance_ms)
    return Stretch(part.start_s, part.end_s, offset_ms, spread, face, sure, bad)
