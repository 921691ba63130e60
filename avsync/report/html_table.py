"""The page's table of a batch: one row per file, sortable by a few lines of script."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from avsync.core.report import Fault, Report, Verdict
from avsync.core.text import printable
from avsync.core.tolerance import excess
from avsync.report.reasons import fault_words
from avsync.report.words import clock_time, offset_words, percent

SCRIPT = files("avsync.report.pages").joinpath("page.js").read_text(encoding="utf-8")
SCRIPT_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""The page's security policy lets only the script with this hash run."""

ORDER: tuple[Verdict, ...] = ("error", "mismatch", "out-of-sync", "cannot-tell", "partly-judged", "in-sync")
"""Worst first."""


@dataclass(frozen=True)
class Cell:
    """What a cell says, and the number or text to sort it by."""

    words: str
    key: float | str


@dataclass(frozen=True)
class Row:
    """One file: verdict (only its key is used), name, offset, share judged, worst fault and `where` it is."""

    verdict: Cell
    name: Cell
    offset: Cell
    judged: Cell
    worst: Cell
    where: str


def batch_row(report: Report) -> Row:
    """The cells of a file; unknown values show as "-" and sort last."""
    name = printable(Path(report.path).name)
    share = judged_share(report)
    worst = worst_fault(report)
    known = report.verdict not in ("error", "mismatch", "cannot-tell")
    offset_ms = report.offset_ms if known else None
    return Row(
        Cell("", float(ORDER.index(report.verdict))),
        Cell(name, name.lower()),
        Cell("-", -1.0) if offset_ms is None else Cell(offset_words(offset_ms), abs(offset_ms)),
        Cell("-", -1.0) if share is None else Cell(percent(share), share),
        Cell("-", -1.0) if worst is None else Cell(_fault(worst), _weight(worst, report)),
        "" if worst is None else clock_time(worst.start_s),
    )


def judged_share(report: Report) -> float | None:
    """The share of the video's time that was judged; None if its length is unknown."""
    if not report.duration_s or report.verdict == "error":
        return None
    unjudged_s = sum(stretch.end_s - stretch.start_s for stretch in report.unjudged)
    return min(1.0, max(0.0, 1 - unjudged_s / report.duration_s)) if report.tracks else 0.0


def worst_fault(report: Report) -> Fault | None:
    """A mismatch first, otherwise the largest error relative to its limit."""
    return max(report.faults, key=lambda fault: _weight(fault, report), default=None)


def _weight(fault: Fault, report: Report) -> float:
    return 1e6 if fault.kind == "mismatch" else excess(fault.offset_ms, report.tolerance_ms)


def _fault(fault: Fault) -> str:
    return "other lips" if fault.kind == "mismatch" else fault_words(fault)
