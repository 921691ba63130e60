"""What a repair did, or would do, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avsync.core.report import Report
from avsync.report.summary import summary
from avsync.report.words import offset_words, span_words

MAX_PLACES = 8
"""Places in a file that a sentence names."""
VERBS = {"delay": "delayed", "advance": "advanced"}


def shift_words(offset_ms: float, audio_track: int | None, left_out: Sequence[int]) -> tuple[str, str]:
    """The verb of a shift and its object, such as ("delay", "the audio by 120 ms"). `audio_track` is the one
    that is moved, None: all; `left_out` are the numbers of the streams that the target cannot hold."""
    which = "the audio" if audio_track is None else f"audio track {audio_track}"
    without = f", without {streams_words(left_out)} (data)" if left_out else ""
    verb = "delay" if offset_ms >= 0 else "advance"
    return verb, f"{which} by {round(abs(offset_ms), 1):g} ms{without}"


def streams_words(indexes: Sequence[int]) -> str:
    """Streams by their numbers: "streams 2, 3"."""
    return f"stream{'s' if len(indexes) > 1 else ''} {', '.join(map(str, indexes))}"


def bytes_words(places: Sequence[int]) -> str:
    """Places in a file: "byte 1024 and byte 4096"."""
    words = [f"byte {place}" for place in places[:MAX_PLACES]]
    more = [f"{len(places) - MAX_PLACES} more places"] if len(places) > MAX_PLACES else []
    *first, last = [*words, *more]
    return f"{', '.join(first)} and {last}" if first else last


def retime_words(report: Report) -> str:
    """What re-timing does to the file of a report, as a clause."""
    drift, faults = report.drift_ms_per_min, len(report.faults)
    done = [f"resampled by {drift / 600:+.3f} % against a drift of {drift:+.0f} ms a minute"] if drift else []
    if faults:
        done.append(
            f"cut or padded with silence where it jumps ({faults} stretch{'es' if faults > 1 else ''})"
        )
    offset_ms = report.offset_ms or 0.0
    return " and ".join(done) or f"{'delayed' if offset_ms > 0 else 'advanced'} by {abs(offset_ms):.0f} ms"


def would_shift(dst: Path, deed: tuple[str, str]) -> str:
    """The sentence of a dry run; `deed` comes from `shift_words`."""
    return f"Would {' '.join(deed)} and write {dst}; nothing is written."


def shifted(
    dst: Path, deed: tuple[str, str], before: Report | None, after: Report | None, lost: Sequence[str]
) -> str:
    """The sentences of a completed shift. `lost`: what the target's format cannot hold."""
    verb, rest = deed
    done = f"{dst}: {VERBS[verb]} {rest}; nothing was re-encoded."
    return done + _before_after(before, after) + _losses(dst, lost)


def retimed(dst: Path, deed: str, before: Report, after: Report | None, lost: Sequence[str]) -> str:
    """The sentences of a completed re-timing; `deed` says what was done."""
    return f"{dst}: {deed}; everything else was copied." + _before_after(before, after) + _losses(dst, lost)


def nothing_to_do(src: Path, report: Report | None) -> str:
    """Why nothing is written; `report` is None if the offset was given."""
    if report is None:
        return "An offset of 0 ms needs no shift; nothing is written (use --force to copy the file)."
    return f"{src}: {summary(report)}; nothing is written (use --force to shift it anyway)."


def _before_after(before: Report | None, after: Report | None) -> str:
    if before is None or after is None:
        return ""
    still = ", better, but not in sync" if after.verdict == "out-of-sync" else ""
    return f" Before: {summary(before)}. After: {summary(after)}{still}{_left(after)}."


def _left(after: Report) -> str:
    """The largest error left, and where, in a file that is in tolerance but not constant."""
    parts = [fault for fault in after.faults if fault.offset_ms is not None]
    if after.verdict != "in-sync" or not parts:
        return ""
    most = max(parts, key=lambda fault: abs(fault.offset_ms or 0.0))
    return f"; {offset_words(most.offset_ms)} remains at {span_words(most.start_s, most.end_s)}"


def _losses(dst: Path, lost: Sequence[str]) -> str:
    return f" {dst.suffix} cannot keep {', '.join(lost)}." if lost else ""
