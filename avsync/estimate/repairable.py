"""Whether one shift of all audio fixes a video, and what error it leaves where. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avsync.core.report import Report, Segment
from avsync.core.tolerance import defects

LEAST_ROOM = 0.25
"""A shift keeps every stretch inside the tolerance by this share of half the 95 % interval of its offset, so
that it is likelier within than not."""


@dataclass(frozen=True)
class Left:
    """What is left in [start_s, end_s) after the shift, in ms, where it is most."""

    start_s: float
    end_s: float
    offset_ms: float


@dataclass(frozen=True)
class Shift:
    """The error to remove from all of the audio, in ms, and what that leaves of each judged stretch."""

    offset_ms: float
    left: tuple[Left, ...]


def repair_shift(report: Report) -> Shift | None:
    """The shift that brings every judged stretch of a file within tolerance; None where none does, or where
    it would leave the file out of sync for another reason."""
    if report.offset_ms is None or not {"offset", "local"} & set(defects(report)):
        return None
    whole = Segment(
        0.0, report.duration_s or 0.0, report.offset_ms, report.uncertainty_ms, report.probability
    )
    faults = [
        Segment(f.start_s, f.end_s, f.offset_ms, f.uncertainty_ms, f.probability) for f in report.faults
    ]
    judged = [*(report.segments or (whole,)), *faults]
    return single_shift(judged, report.tolerance_ms, report.offset_ms, report.drift_ms_per_min or 0.0)


def joint(report: Report) -> Mapping[str, Any] | None:
    """What a report says of a file of joined recordings: after which bytes it is to be cut, and whether it
    can be shifted in place; None for other files."""
    return next((r.values for r in report.reasons if r.values.get("cut_at_bytes")), None)


def single_shift(
    segments: Sequence[Segment],
    tolerance_ms: tuple[float, float],
    wanted_ms: float,
    drift_ms_per_min: float = 0.0,
) -> Shift | None:
    """The shift near `wanted_ms` that brings every judged stretch within tolerance, (audio early, audio
    late), with room for what their offsets are uncertain by; None where none does. A stretch that drifts has
    to be within it from end to end."""
    early, late = tolerance_ms
    spans = [(s, *_ends(s, drift_ms_per_min)) for s in segments if s.offset_ms is not None]
    lowest = max((high - early for _, _, high in spans), default=wanted_ms)
    highest = min((low + late for _, low, _ in spans), default=wanted_ms)
    # Offsets are known only so well: keep that far inside the tolerance, as far as there is room.
    unsure, room = max((s.uncertainty_ms or 0.0 for s, _, _ in spans), default=0.0), (highest - lowest) / 2
    # A single offset has all the room that there is, however narrow the tolerance.
    least = min(LEAST_ROOM * unsure, (early + late) / 2)
    if room < 0 or (room < least and not math.isclose(room, least)):
        return None
    margin = min(unsure, room)
    shift = min(max(wanted_ms, lowest + margin), highest - margin)
    left = (Left(s.start_s, s.end_s, max(low - shift, high - shift, key=abs)) for s, low, high in spans)
    return Shift(shift, tuple(left))


def _ends(segment: Segment, drift_ms_per_min: float) -> tuple[float, float]:
    """The lowest and the highest offset within a judged stretch."""
    half = abs(drift_ms_per_min) * (segment.end_s - segment.start_s) / 120
    middle = segment.offset_ms or 0.0
    return middle - half, middle + half
