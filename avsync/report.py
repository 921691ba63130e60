"""A Report in words, as versioned JSON, and as the exit code of `check`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from avsync.defects import exceeds
from avsync.errors import EXIT_CANNOT_TELL, EXIT_ERROR, EXIT_IN_SYNC, EXIT_OUT_OF_SYNC
from avsync.records import Fault, Offset, Report, Segment, TrackReport, Unjudged, Verdict
from avsync.settings import MIN_PROBABILITY, MIN_SPEECH_S, STANDARD_NAMES

T = TypeVar("T")

SCHEMA = 1
"""Version of the JSON document; it grows when a field changes its meaning or goes away."""

EXIT_CODES: dict[Verdict, int] = {
    "in-sync": EXIT_IN_SYNC,
    "out-of-sync": EXIT_OUT_OF_SYNC,
    "mismatch": EXIT_OUT_OF_SYNC,
    "cannot-tell": EXIT_CANNOT_TELL,
    "error": EXIT_ERROR,
}
VERDICT_WORDS: dict[Verdict, str] = {
    "in-sync": "in sync",
    "out-of-sync": "OUT OF SYNC",
    "mismatch": "LIPS DO NOT MATCH",
    "cannot-tell": "cannot tell",
    "error": "ERROR",
}


def exit_code(reports: Sequence[Report]) -> int:
    """Exit code of one report, or the highest of several.

    As with `diff` and `grep`, trouble outranks a difference: an unreadable file (4) over one that
    could not be judged (3) over one that is out of sync or mismatched (1) over 0.
    """
    return max((EXIT_CODES[report.verdict] for report in reports), default=EXIT_ERROR)


# --- Words -------------------------------------------------------------------------------


def printable(text: str) -> str:
    """`text` with control and undecodable characters escaped, so that a file name cannot drive the
    terminal or break the output's encoding."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def timecode(seconds: float) -> str:
    """`seconds` as m:ss.t, or h:mm:ss from an hour on; negative times keep their sign."""
    tenths = round(abs(seconds) * 10)
    sign = "-" if seconds < 0 and tenths else ""
    minutes, rest = divmod(tenths, 600)
    if minutes < 60:
        return f"{sign}{minutes}:{rest / 10:04.1f}"
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}"


def offset_words(offset_ms: float | None) -> str:
    """ "120 ms early", "0 ms", or "unknown"; early and late are said of the audio."""
    if offset_ms is None or not math.isfinite(offset_ms):
        return "unknown"
    size = round(abs(offset_ms))
    if size == 0:
        return "0 ms"
    return f"{size} ms {'early' if offset_ms > 0 else 'late'}"


def repair_words(offset_ms: float) -> str:
    """The whole sentence of DESIGN.md: what is wrong and what mends it."""
    size = round(abs(offset_ms))
    verb = "delaying" if offset_ms > 0 else "advancing"
    return f"audio is {offset_words(offset_ms)}; {verb} it by {size} ms fixes it"


def certainty_words(probability: float) -> str:
    """A probability as a person would say it, with the figure."""
    limits = ((0.95, "almost certain"), (0.8, "likely"), (MIN_PROBABILITY, "probable"))
    word = next((word for limit, word in limits if round(probability, 2) >= limit), "unsure")
    return f"{word}, {percent(probability)}"


def percent(probability: float) -> str:
    """Whole percent; never rounds up to a certainty that was not measured."""
    return f"{min(99, round(100 * probability)) if probability < 1 else 100} %"


def within(offset_ms: float, tolerance_ms: tuple[float, float]) -> bool:
    """Whether an error is inside (audio early, audio late) limits, in ms."""
    early, late = tolerance_ms
    return -late <= offset_ms <= early


def drift_words(drift_ms_per_min: float) -> str:
    """ "growing early by 60 ms a minute": which way the audio goes against the picture."""
    way = "early" if drift_ms_per_min > 0 else "late"
    return f"growing {way} by {abs(drift_ms_per_min):.0f} ms a minute"


def defects(report: Report) -> tuple[str, ...]:
    """Which of the three defects are out of tolerance: "offset", "drift", "local"."""
    if report.verdict != "out-of-sync":
        return ()
    found = {
        "offset": report.offset_ms is not None and not within(report.offset_ms, report.tolerance_ms),
        "drift": exceeds(report.drift_ms_per_min, report.max_drift_ms_per_min),
        "local": any(fault.severity != "slight" for fault in report.faults),
    }
    return tuple(name for name, there in found.items() if there)


def largest_error(report: Report) -> float:
    """The largest offset anywhere in the file, in ms, early or late."""
    offsets = [report.offset_ms, *(segment.offset_ms for segment in report.segments)]
    return max((abs(offset) for offset in offsets if offset is not None), default=0.0)


def limits_words(report: Report) -> str:
    """The standard and its limits."""
    early, late = report.tolerance_ms
    name = STANDARD_NAMES.get(report.standard, report.standard)
    drift = f"a drift of {report.max_drift_ms_per_min:.0f} ms a minute"
    return f"{name}, audio at most {early:.0f} ms early or {late:.0f} ms late; at most {drift}"


def speech_words(report: Report) -> str | None:
    """How much speech there is and what share of it was judged; None where nobody listened."""
    if report.speech_s is None or report.speech_judged_s is None:
        return None
    if report.speech_s < MIN_SPEECH_S:
        return "none is heard"
    share = min(1.0, report.speech_judged_s / report.speech_s)
    return f"{report.speech_s:.0f} s are heard, of which {percent(share)} were judged"


def _joined(reasons: Sequence[str]) -> str:
    return "; ".join(reason.rstrip(".") for reason in reasons)


def summary(report: Report) -> str:
    """One sentence for a person, without the path."""
    if report.verdict == "mismatch":
        return "these lips do not say this speech, at any offset that was searched"
    if report.verdict in ("cannot-tell", "error"):
        return _joined(report.reasons) or "no reason is known"
    if report.offset_ms is None or not math.isfinite(report.offset_ms):
        return _joined(report.reasons) or "see the segments"
    if report.verdict == "in-sync":
        size = offset_words(report.offset_ms)
        return f"audio is {size}, within tolerance" if size != "0 ms" else "audio and lips agree"
    several = report.drift_ms_per_min or report.faults or report.contested
    if several or set(defects(report)) != {"offset"}:
        detail = _joined(report.reasons) or "parts of it are out of tolerance"
        return f"audio is {offset_words(report.offset_ms)} on the whole, but {detail}"
    return repair_words(report.offset_ms)


def notes(report: Report) -> list[str]:
    """The reasons that `summary` does not give already."""
    said = summary(report)
    return [reason for reason in report.reasons if reason.rstrip(".") not in said]


# --- JSON --------------------------------------------------------------------------------


def to_dict(report: Report) -> dict[str, Any]:
    """The versioned document of DESIGN.md: units in the names, null for what is unknown, never NaN."""
    return {
        "schema": SCHEMA,
        "path": report.path,
        "verdict": report.verdict,
        "summary": summary(report),
        "offset_ms": _number(report.offset_ms, 1),
        "uncertainty_ms": _number(report.uncertainty_ms, 1),
        "probability": _number(report.probability, 4),
        "drift_ms_per_min": _number(report.drift_ms_per_min, 2),
        "drift_uncertainty_ms_per_min": _number(report.drift_uncertainty_ms_per_min, 2),
        "max_drift_ms_per_min": _number(report.max_drift_ms_per_min, 2),
        "defects": list(defects(report)),
        "faults": [_fault_dict(fault) for fault in report.faults],
        "contested": report.contested,
        "standard": report.standard,
        "tolerance_early_ms": _number(report.tolerance_ms[0], 1),
        "tolerance_late_ms": _number(report.tolerance_ms[1], 1),
        "reasons": list(report.reasons),
        "tracks": [_track_dict(track) for track in report.tracks],
        "segments": [_segment_dict(segment) for segment in report.segments],
        "complete": report.complete,
        "looked_at_s": [[_number(start, 3), _number(end, 3)] for start, end in report.looked_at],
        "unjudged": [_unjudged_dict(stretch) for stretch in report.unjudged],
        "duration_s": _number(report.duration_s, 3),
        "judged_s": _number(report.judged_s, 3),
        "speech_s": _number(report.speech_s, 1),
        "speech_judged_s": _number(report.speech_judged_s, 1),
        "model": report.model,
        "audio_track": report.audio_track,
        "stride": report.stride,
        "settings": report.settings,
        "timings_s": {stage: _number(seconds, 3) for stage, seconds in report.timings_s.items()},
    }


def to_json(reports: Sequence[Report], *, many: bool) -> str:
    """One document, or a list of them when `many`; ends with a newline."""
    documents = [to_dict(report) for report in reports]
    return json.dumps(documents if many else documents[0], indent=2, allow_nan=False) + "\n"


def to_line(report: Report, more: Mapping[str, Any] | None = None) -> str:
    """The document and `more` on one line, with its newline, for `--jsonl`."""
    return json.dumps({**to_dict(report), **(more or {})}, allow_nan=False) + "\n"


def from_dict(document: Mapping[str, Any]) -> Report:
    """The report that `to_dict` made a document of; curves, pictures and the score map are not in one."""
    values = {
        **document,
        "tolerance_ms": (document["tolerance_early_ms"], document["tolerance_late_ms"]),
        "tracks": tuple(_track_from(track) for track in document["tracks"]),
        "segments": tuple(_made(Segment, segment) for segment in document["segments"]),
        "faults": tuple(_made(Fault, fault) for fault in document.get("faults", ())),
        "looked_at": tuple((start, end) for start, end in document.get("looked_at_s", ())),
        "unjudged": tuple(_made(Unjudged, stretch) for stretch in document.get("unjudged", ())),
        "timings_s": document["timings_s"],
    }
    return _made(Report, values)


def _track_from(document: Mapping[str, Any]) -> TrackReport:
    curve = {"shifts": np.zeros(0, np.int64), "curve": np.zeros(0, np.float32)}
    offset = None if document["evidence"] is None else _made(Offset, {**document, **curve})
    return _made(TrackReport, {**document, "offset": offset})


def _made(record: type[T], values: Mapping[str, Any]) -> T:
    """A record from the values that have the names of its fields; lists become tuples."""
    names = {field.name for field in fields(record)} & values.keys()  # pyright: ignore[reportArgumentType]
    return record(**{n: tuple(values[n]) if isinstance(values[n], list) else values[n] for n in names})


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
        "reasons": list(offset.reasons) if offset else [],
    }


def _segment_dict(segment: Segment) -> dict[str, Any]:
    return {
        "start_s": _number(segment.start_s, 3),
        "end_s": _number(segment.end_s, 3),
        "offset_ms": _number(segment.offset_ms, 1),
        "uncertainty_ms": _number(segment.uncertainty_ms, 1),
        "probability": _number(segment.probability, 4),
        "fault": segment.fault,
        "hint_ms": _number(segment.hint_ms, 1),
        "against": segment.against,
    }


def _fault_dict(fault: Fault) -> dict[str, Any]:
    return {
        "start_s": _number(fault.start_s, 3),
        "end_s": _number(fault.end_s, 3),
        "offset_ms": _number(fault.offset_ms, 1),
        "uncertainty_ms": _number(fault.uncertainty_ms, 1),
        "probability": _number(fault.probability, 4),
        "severity": fault.severity,
    }


def _unjudged_dict(stretch: Unjudged) -> dict[str, Any]:
    return {
        "start_s": _number(stretch.start_s, 3),
        "end_s": _number(stretch.end_s, 3),
        "why": stretch.why,
    }


def _number(value: float | None, digits: int) -> float | None:
    """`value` as a plain rounded float; None for None, NaN and infinities (JSON has neither)."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0  # no "-0.0"
