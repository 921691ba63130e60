"""What `check` prints to a terminal: the verdict in words and small tables, as wide as the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from avsync.core.constants import FRAME_MS
from avsync.core.report import Fault, Report, TrackReport, Unjudged, Verdict
from avsync.core.text import printable
from avsync.core.timecode import Timebase, frame_at, label
from avsync.core.tolerance import largest_error
from avsync.report.reasons import cause_words, fault_words, place_words, reason_words
from avsync.report.summary import limits_words, no_drift_words, notes, speech_words, summary
from avsync.report.words import (
    VERDICT_WORDS,
    certainty_words,
    clock_time,
    drift_words,
    offset_words,
    percent,
    span_words,
)

_STYLES: dict[Verdict, str] = {
    "in-sync": "bold green",
    "out-of-sync": "bold red",
    "mismatch": "bold red",
    "partly-judged": "bold yellow",
    "cannot-tell": "bold yellow",
    "error": "bold red",
}
_MAX_ROWS = 12
"""Rows of a track or segment table; a film has hundreds of tracks, and the JSON lists them all."""
_MAX_FILES = 40
"""A batch of more files lists only those that are not in sync."""
_MAX_WORST = 10
_MIN_GAP_S = 1.0
"""Shortest unjudged stretch that is listed."""
_WIDE = 72
"""Narrowest terminal, in columns, that the full tables fit."""


def to_text(reports: Sequence[Report], console: Console, *, batch: bool) -> str:
    """What `check` prints: one file in full, or a row per file and a summary.

    `console` gives width and colours; the text is returned, not written, so that the caller can handle a
    closed pipe. Sentences are not broken into lines, so that `grep` finds them whole; the terminal wraps
    them.
    """
    with console.capture() as capture:
        parts = _batch(reports, console) if batch else [p for r in reports for p in _single(r, console)]
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text), highlight=False)
    return capture.get()


def to_line(report: Report, console: Console) -> str:
    """The verdict on one file as one line."""
    with console.capture() as capture:
        console.print(_headline(report), soft_wrap=True, highlight=False)
    return capture.get()


def _single(report: Report, console: Console) -> Iterator[RenderableType]:
    yield _headline(report)
    if report.verdict == "error":
        return
    if report.offset_ms is not None:
        yield Text(f"  measured: {_measured(report)}")
    if report.verdict_probability is not None:
        yield Text(f"  verdict: {certainty_words(report.verdict_probability)} sure")
    known = report.drift_ms_per_min is not None or report.drift_possible_ms_per_min is not None
    if known and report.verdict != "mismatch":
        yield Text(f"  drift: {_drift(report)}")
    if spoken := speech_words(report):
        yield Text(f"  speech: {spoken}")
    yield Text(f"  judged by: {limits_words(report)}")
    yield from (Text(f"  note: {printable(note)}") for note in notes(report))
    if report.tracks:
        yield _tracks(report.tracks, console)
    if report.faults:
        yield _faults(report.faults, report.timebase)
    if report.unjudged and report.tracks:
        # A note covers what adaptive sampling skipped, which may be a hundred stretches.
        gaps = [
            gap
            for gap in report.unjudged
            if gap.end_s - gap.start_s >= _MIN_GAP_S and gap.cause != "not-needed"
        ]
        yield from [_gaps(gaps, report.timebase)] if gaps else []


def _headline(report: Report) -> Text:
    return Text.assemble(
        (printable(report.path), "bold"),
        ": ",
        (VERDICT_WORDS[report.verdict], _STYLES[report.verdict]),
        " - ",
        printable(summary(report)),
    )


def _measured(report: Report) -> str:
    uncertainty = "" if report.uncertainty_ms is None else f" (+/- {report.uncertainty_ms:.0f} ms)"
    guess = "best guess " if report.verdict == "cannot-tell" else ""
    certainty = certainty_words(report.probability)
    return (
        f"{guess}audio {offset_words(report.offset_ms)}{uncertainty}; "
        f"{certainty} sure to within {FRAME_MS:.0f} ms"
    )


def _gaps(gaps: Sequence[Unjudged], base: Timebase | None) -> Table:
    table = _table("time", *_FRAMES[: 2 if base else 0], "why", title="not judged:")
    for gap in gaps[:_MAX_ROWS]:
        table.add_row(span_words(gap.start_s, gap.end_s), *_frames(gap, base), cause_words(gap))
    if len(gaps) > _MAX_ROWS:
        table.caption = f"and {len(gaps) - _MAX_ROWS} more: --json lists them all"
    return table


_FRAMES = ("time code", "frames")


def _frames(stretch: Fault | Unjudged, base: Timebase | None) -> tuple[str, ...]:
    """The time code of its first frame, that frame's number and the number after its last; empty if the frame
    rate is unknown."""
    if base is None:
        return ()
    first, past = frame_at(base, stretch.start_s), frame_at(base, stretch.end_s)
    return label(base, first), f"{first}-{past}"


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _lse(track: TrackReport) -> tuple[str, str]:
    """SyncNet's distance and confidence."""
    found = track.syncnet
    return ("-", "-") if found is None else (f"{found.distance:.3f}", f"{found.confidence:.3f}")


def _tracks(tracks: Sequence[TrackReport], console: Console) -> Table:
    shown = any(track.syncnet for track in tracks)
    lse = ("LSE-D", "LSE-C") if shown else ()
    table = _table(
        "face", "time", "audio is", "sure", *lse, *(["evidence"] if console.width >= _WIDE else [])
    )
    ranked = sorted(tracks, key=lambda t: (not t.speaking, -_evidence(t)))
    for track in ranked[:_MAX_ROWS]:
        offset = track.offset
        cells = (
            f"{track.track} speaks" if track.speaking else str(track.track),
            span_words(track.start_s, track.end_s),
            offset_words(offset.offset_ms if offset else None),
            percent(offset.probability) if offset else "-",
            *(_lse(track) if shown else ()),
            f"{_evidence(track):.1f}" if offset else "-",
        )
        table.add_row(*cells[: len(table.columns)], style="bold" if track.speaking else "")
    if len(ranked) > _MAX_ROWS:
        table.caption = f"and {len(ranked) - _MAX_ROWS} more faces: --json lists them all"
    return table


def _evidence(track: TrackReport) -> float:
    return track.offset.evidence if track.offset and math.isfinite(track.offset.evidence) else 0.0


def _drift(report: Report) -> str:
    drift, uncertainty = report.drift_ms_per_min, report.drift_uncertainty_ms_per_min
    within_ms = "" if uncertainty is None else f" (+/- {uncertainty:.0f} ms)"
    return drift_words(drift) + within_ms if drift else no_drift_words(report)


def _faults(faults: Sequence[Fault], base: Timebase | None) -> Table:
    columns = ("time", *_FRAMES[: 2 if base else 0], "audio is", "sure", "severity")
    table = _table(*columns, title="faults:")
    for fault in faults[:_MAX_ROWS]:
        span = span_words(fault.start_s, fault.end_s)
        frames = _frames(fault, base)
        table.add_row(
            span, *frames, fault_words(fault) + place_words(fault), percent(fault.probability), fault.severity
        )
    if len(faults) > _MAX_ROWS:
        table.caption = f"and {len(faults) - _MAX_ROWS} more: --json lists them all"
    return table


def _batch(reports: Sequence[Report], console: Console) -> Iterator[RenderableType]:
    """A table if there is room for one, otherwise (and in a pipe) a line per file; then the totals."""
    if console.is_terminal and console.width >= _WIDE:
        wanting = [report for report in reports if report.verdict != "in-sync"]
        yield _files(reports if len(reports) <= _MAX_FILES else wanting)
    else:
        yield from map(_headline, reports)
    if len(reports) > _MAX_ROWS:
        yield from _overview(reports)
    counts = Counter(report.verdict for report in reports)
    words = ", ".join(f"{counts[v]} {VERDICT_WORDS[v].lower()}" for v in VERDICT_WORDS if counts[v])
    files = "1 file" if len(reports) == 1 else f"{len(reports)} files"
    yield Text(f"{files}: {words or 'none judged'}.")
    judged = next((report for report in reports if report.verdict != "error"), None)
    if judged is not None:
        yield Text(f"Judged by {limits_words(judged)}.")


def _files(reports: Sequence[Report]) -> Table:
    table = _table("file", "verdict", "audio is", "sure", "why")
    for report in reports:
        judged = report.verdict in ("in-sync", "out-of-sync")
        why = "; ".join(map(reason_words, report.reasons)) if judged else summary(report)
        table.add_row(
            Text(printable(report.path)),
            Text(VERDICT_WORDS[report.verdict], _STYLES[report.verdict]),
            offset_words(report.offset_ms) if judged else "",
            percent(report.probability) if judged else "",
            Text(printable(why)),
        )
    return table


def _overview(reports: Sequence[Report]) -> Iterator[RenderableType]:
    """How many files have each verdict, and the files with the largest errors."""
    yield Text()
    counts = Counter(report.verdict for report in reports)
    table = _table("verdict", "files", "share")
    for verdict, words in VERDICT_WORDS.items():
        if counts[verdict]:
            table.add_row(
                Text(words, _STYLES[verdict]), str(counts[verdict]), f"{counts[verdict] / len(reports):.1%}"
            )
    yield table
    if worst := worst_files(reports)[:_MAX_WORST]:
        yield Text()
        table = _table("worst", "audio is", "sure")
        for report in worst:
            table.add_row(Text(printable(report.path), overflow="fold"), *_worst_error(report))
        yield table
    yield Text()


def _worst_error(report: Report) -> tuple[str, str]:
    """The largest error anywhere in a file, from when on where it is not that of the whole file; and how sure
    it is."""
    if report.offset_ms is not None and abs(report.offset_ms) >= largest_error(report):
        return offset_words(report.offset_ms), percent(report.probability)
    judged = [segment for segment in report.segments if segment.offset_ms is not None]
    worst = max(judged, key=lambda segment: abs(segment.offset_ms or 0.0))
    return f"{offset_words(worst.offset_ms)} from {clock_time(worst.start_s)}", percent(worst.probability)


def worst_files(reports: Sequence[Report]) -> list[Report]:
    """The files that are out of sync, by the largest error anywhere in each."""
    found = [report for report in reports if report.verdict == "out-of-sync"]
    return sorted(found, key=largest_error, reverse=True)
