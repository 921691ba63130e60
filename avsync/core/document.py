"""A Report as plain values, and back: the document of `avsync check --json` without its sentences, which
`report.document` adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from avsync.core.report import (
    FaceDistance,
    Fault,
    Offset,
    Reason,
    Report,
    Segment,
    TrackReport,
    Turn,
    Unjudged,
)
from avsync.core.timecode import Timebase, frame_at, label
from avsync.core.tolerance import defects

T = TypeVar("T")

SCHEMA = 1
"""Version of the document; it grows when a field changes its meaning or goes away."""

COLUMNS = (
    *("path", "kind", "start_s", "end_s", "offset_ms", "own_offset_ms", "uncertainty_ms", "probability"),
    *("cause", "severity"),
)
"""Of `rows`."""


DIGITS = {
    "start_s": 3, "end_s": 3, "offset_ms": 1, "own_offset_ms": 1, "uncertainty_ms": 1, "hint_ms": 1,
    "probability": 4,
}  # fmt: skip
"""Decimals of what a stretch says in numbers."""
SEGMENT = ("offset_ms", "uncertainty_ms", "probability", "fault", "own_offset_ms")
TURN = ("track", "offset_ms", "probability")
PLACES = ("start_between_s", "end_between_s")
FAULT = ("offset_ms", "uncertainty_ms", "probability", "severity", "kind", *PLACES)
UNJUDGED = ("cause", "hint_ms")


def to_dict(report: Report) -> dict[str, Any]:
    """The versioned document of DESIGN.md: units in the names, null for what is unknown, never NaN."""
    return {
        "schema": SCHEMA,
        "path": report.path,
        "verdict": report.verdict,
        "offset_ms": _number(report.offset_ms, 1),
        "uncertainty_ms": _number(report.uncertainty_ms, 1),
        "probability": _number(report.probability, 4),
        "verdict_probability": _number(report.verdict_probability, 4),
        "drift_ms_per_min": _number(report.drift_ms_per_min, 2),
        "drift_uncertainty_ms_per_min": _number(report.drift_uncertainty_ms_per_min, 2),
        "drift_possible_ms_per_min": _number(report.drift_possible_ms_per_min, 1),
        "max_drift_ms_per_min": _number(report.max_drift_ms_per_min, 2),
        "defects": list(defects(report)),
        "faults": [_stretch_dict(fault, FAULT, report.timebase) for fault in report.faults],
        "contested": report.contested,
        "standard": report.standard,
        "tolerance_early_ms": _number(report.tolerance_ms[0], 1),
        "tolerance_late_ms": _number(report.tolerance_ms[1], 1),
        "reasons": [_reason_dict(reason) for reason in report.reasons],
        "tracks": [_track_dict(track) for track in report.tracks],
        "segments": [_stretch_dict(part, SEGMENT, report.timebase) for part in report.segments],
        "turns": [_stretch_dict(turn, TURN, report.timebase) for turn in report.turns],
        "complete": report.complete,
        "looked_at_s": [[_number(start, 3), _number(end, 3)] for start, end in report.looked_at],
        "unjudged": [_stretch_dict(gap, UNJUDGED, report.timebase) for gap in report.unjudged],
        "duration_s": _number(report.duration_s, 3),
        "timebase": _timebase_dict(report.timebase),
        "judged_s": _number(report.judged_s, 3),
        "speech_s": _number(report.speech_s, 1),
        "speech_seen_s": _number(report.speech_seen_s, 1),
        "speech_judged_s": _number(report.speech_judged_s, 1),
        "min_judged": report.min_judged,
        "min_fault_s": report.min_fault_s,
        "model": report.model,
        "audio_track": report.audio_track,
        "stride": report.stride,
        "settings": report.settings,
        "runtime": report.runtime,
        "timings_s": {stage: _number(seconds, 3) for stage, seconds in report.timings_s.items()},
    }


def from_dict(document: Mapping[str, Any]) -> Report:
    """The report that `to_dict` made a document of; curves, images and the score map are not in one.

    Raises:
        ValueError: it is not such a document, or one of another version.
    """
    if document.get("schema") != SCHEMA:
        raise ValueError(f"a document of schema {document.get('schema')!r}; this avsync reads {SCHEMA}")
    try:
        return _report_from(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the document of a report: {type(error).__name__} at {error}") from error


def _report_from(document: Mapping[str, Any]) -> Report:
    values = {
        **document,
        "tolerance_ms": (document["tolerance_early_ms"], document["tolerance_late_ms"]),
        "tracks": tuple(_track_from(track) for track in document["tracks"]),
        "segments": tuple(_made(Segment, segment) for segment in document["segments"]),
        "turns": tuple(_made(Turn, turn) for turn in document.get("turns", ())),
        "faults": tuple(_made(Fault, fault) for fault in document.get("faults", ())),
        "looked_at": tuple((start, end) for start, end in document.get("looked_at_s", ())),
        "unjudged": tuple(_made(Unjudged, stretch) for stretch in document.get("unjudged", ())),
        "reasons": _reasons_from(document),
        "timebase": _timebase_from(document.get("timebase")),
        "timings_s": document["timings_s"],
    }
    return _made(Report, values)


def _timebase_dict(base: Timebase | None) -> dict[str, Any] | None:
    if base is None:
        return None
    return {
        "frame_rate": str(base.rate),
        "first_frame_s": _number(base.first_s, 6),
        "start_timecode": label(base, 0),
        "start_frame": base.start_frame,
        "drop_frame": base.drop,
    }


def _timebase_from(document: Mapping[str, Any] | None) -> Timebase | None:
    if document is None:
        return None
    rate = Fraction(document["frame_rate"])
    return Timebase(rate, document["first_frame_s"], document["start_frame"], document["drop_frame"])


def _frames(stretch: Fault | Segment | Turn | Unjudged, base: Timebase | None) -> dict[str, Any]:
    """Numbers and time codes of the first frame of a stretch and of the one after its last; of its rounded
    times, so that a document that was read gives the same again."""
    if base is None:
        return {}
    first, past = (frame_at(base, round(time_s, 3)) for time_s in (stretch.start_s, stretch.end_s))
    return {
        "start_frame": first,
        "end_frame": past,
        "start_timecode": label(base, first),
        "end_timecode": label(base, past),
    }


def _track_from(document: Mapping[str, Any]) -> TrackReport:
    curve = {"shifts": np.zeros(0, np.int64), "curve": np.zeros(0, np.float32)}
    known = {**document, **curve, "segments": (), "reasons": _reasons_from(document)}
    offset = None if document["evidence"] is None else _made(Offset, known)
    boxes = tuple(tuple(box) for box in document.get("boxes", ()))
    segments = tuple(_made(Segment, segment) for segment in document.get("segments", ()))
    own = {
        "offset": offset,
        "boxes": boxes,
        "segments": segments,
        "syncnet": _syncnet_from(document.get("syncnet")),
    }
    return _made(TrackReport, {**document, **own})


def _reasons_from(document: Mapping[str, Any]) -> tuple[Reason, ...]:
    return tuple(Reason(reason["code"], reason["values"]) for reason in document["reasons"])


def _made(record: type[T], values: Mapping[str, Any]) -> T:
    """A record from the values that have the names of its fields; lists become tuples."""
    names = {field.name for field in fields(record)} & values.keys()  # pyright: ignore[reportArgumentType]
    return record(**{n: tuple(values[n]) if isinstance(values[n], list) else values[n] for n in names})


def rows(report: Report) -> list[dict[str, Any]]:
    """The judged stretches, the unjudged ones and the faults, one row each with the same columns, in order of
    time: `kind` is "judged", "unjudged" or "fault"; what a kind does not have is None."""
    kinds = {"judged": report.segments, "unjudged": report.unjudged, "fault": report.faults}
    found = [
        {"path": report.path, "kind": kind, **{name: getattr(stretch, name, None) for name in COLUMNS[2:]}}
        for kind, stretches in kinds.items()
        for stretch in stretches
    ]
    return sorted(found, key=lambda row: (row["start_s"], row["end_s"]))


def _track_dict(track: TrackReport) -> dict[str, Any]:
    offset: Offset | None = track.offset
    return {
        "track": track.track,
        "speaking": track.speaking,
        "start_s": _number(track.start_s, 3),
        "end_s": _number(track.end_s, 3),
        "windows": track.windows,
        "weight": _number(track.weight, 3),
        "offset_ms": _number(offset.offset_ms, 1) if offset else None,
        "uncertainty_ms": _number(offset.uncertainty_ms, 1) if offset else None,
        "probability": _number(offset.probability, 4) if offset else None,
        "evidence": _number(offset.evidence, 3) if offset else None,
        "at_edge": bool(offset.at_edge) if offset else False,
        "syncnet": _syncnet_dict(track.syncnet),
        "boxes": [[_number(value, 4) for value in box] for box in track.boxes],
        "segments": [_stretch_dict(part, SEGMENT) for part in track.segments],
        "cause": track.cause,
        "reasons": [_reason_dict(reason) for reason in offset.reasons] if offset else [],
    }


def _syncnet_dict(found: FaceDistance | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "lse_d": _number(found.distance, 4),
        "lse_c": _number(found.confidence, 4),
        "offset_frames": found.offset,
        "windows": found.windows,
    }


def _syncnet_from(document: Mapping[str, Any] | None) -> FaceDistance | None:
    if document is None:
        return None
    names = ("offset_frames", "lse_d", "lse_c", "windows")
    return FaceDistance(*(document[name] for name in names))


def _reason_dict(reason: Reason) -> dict[str, Any]:
    values = {name: _number(v, 4) if isinstance(v, float) else v for name, v in reason.values.items()}
    return {"code": reason.kind, "values": values}


def _stretch_dict(
    stretch: Fault | Segment | Turn | Unjudged, names: Sequence[str], base: Timebase | None = None
) -> dict[str, Any]:
    """When a stretch is, in seconds and with a time base in frames too, and its fields of these names."""
    values = {name: getattr(stretch, name) for name in ("start_s", "end_s", *names)}
    for name in PLACES:
        if values.get(name):
            values[name] = [_number(edge, 3) for edge in values[name]]
    return {n: _number(v, DIGITS[n]) if n in DIGITS else v for n, v in values.items()} | _frames(
        stretch, base
    )


def _number(value: float | None, digits: int) -> float | None:
    """`value` as a plain rounded float; None for None, NaN and infinities (JSON has neither)."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0  # no "-0.0"
