"""Whether offsets and drifts are within tolerance."""

from __future__ import annotations

from typing import Literal

from avsync.core.report import Report, Segment

Unmendable = Literal["contested", "mismatch"]


def excess(offset_ms: float | None, tolerance_ms: tuple[float, float]) -> float:
    """An error as a multiple of its limit, (audio early, audio late); 0 where it is not known."""
    if offset_ms is None:
        return 0.0
    early, late = tolerance_ms
    return max(offset_ms / early, -offset_ms / late)


def exceeds(drift: float | None, limit: float) -> bool:
    """Whether a drift, in ms a minute, is larger than its limit. It is 0 unless it explains the scores better
    than no drift does, so its uncertainty decides nothing, as with the offset."""
    return drift is not None and abs(drift) > limit


def within(offset_ms: float, tolerance_ms: tuple[float, float]) -> bool:
    """Whether an error is inside (audio early, audio late) limits, in ms."""
    early, late = tolerance_ms
    return -late <= offset_ms <= early


def own_offset(segment: Segment) -> float:
    """The offset to show for a judged stretch, in ms: its own where that is certain, else the one it
    shares."""
    return segment.offset_ms or 0.0 if segment.own_offset_ms is None else segment.own_offset_ms


def defects(report: Report) -> tuple[str, ...]:
    """The defects that are out of tolerance: "offset", "drift", "local", "mismatch"."""
    if report.verdict != "out-of-sync":
        return ()
    offset = report.offset_ms is not None and not within(report.offset_ms, report.tolerance_ms)
    found = {
        "offset": offset,
        "drift": exceeds(report.drift_ms_per_min, report.max_drift_ms_per_min),
        "local": any(fault.severity != "slight" for fault in report.faults if fault.kind == "offset")
        or (not offset and _stretch_outside(report)),
        "mismatch": any(fault.severity != "slight" for fault in report.faults if fault.kind == "mismatch"),
    }
    return tuple(name for name, there in found.items() if there)


def _stretch_outside(report: Report) -> bool:
    """Whether a judged stretch is out of tolerance that is part of no fault too short to count."""
    brief = [(f.start_s, f.end_s) for f in report.faults if f.end_s - f.start_s < report.min_fault_s]
    return any(
        segment.offset_ms is not None
        and not within(segment.offset_ms, report.tolerance_ms)
        and not any(start_s <= segment.start_s < end_s for start_s, end_s in brief)
        for segment in report.segments
    )


def unmendable(report: Report) -> Unmendable | None:
    """Why moving the audio does not mend a file that is out of sync: a good part of it is "contested", or all
    that is out of tolerance is a "mismatch"; None where it may."""
    if report.verdict != "out-of-sync":
        return None
    if report.contested:
        return "contested"
    return "mismatch" if defects(report) == ("mismatch",) else None


def largest_error(report: Report) -> float:
    """The largest offset anywhere in the file, in ms, early or late."""
    offsets = [report.offset_ms, *(segment.offset_ms for segment in report.segments)]
    return max((abs(offset) for offset in offsets if offset is not None), default=0.0)
