"""Reports as a table for spreadsheets: one CSV file, a row for each video."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Sequence

from avsync.core.files import Kind
from avsync.core.report import Report
from avsync.core.text import spreadsheet_text
from avsync.report.html_table import judged_share, worst_fault
from avsync.report.summary import summary
from avsync.report.words import clock_time

COLUMNS = (
    *("path", "verdict", "offset_ms", "uncertainty_ms", "probability", "drift_ms_per_min", "seconds"),
    *("judged_share", "faults", "worst_fault_at", "worst_fault_ms", "summary"),
)
TABLE = Kind("table", lambda head: head.lstrip(b"\xef\xbb\xbf").startswith(",".join(COLUMNS).encode()))


def to_csv(reports: Sequence[Report]) -> bytes:
    """UTF-8 with the mark by which spreadsheets know it. What is not known is an empty cell. `avsync check`
    reads the table, whole or with rows taken out, as a list of videos, so paths are exact: those that are no
    text have their own bytes."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    rows.writerows(_row(report) for report in reports)
    return text.getvalue().encode("utf-8-sig", "surrogateescape")


def _row(report: Report) -> tuple[object, ...]:
    worst, share = worst_fault(report), judged_share(report)
    return (
        _path(report.path),
        report.verdict,
        _rounded(report.offset_ms, 1),
        _rounded(report.uncertainty_ms, 1),
        _rounded(report.probability if report.offset_ms is not None else None, 3),
        _rounded(report.drift_ms_per_min, 1),
        _rounded(report.duration_s, 1),
        _rounded(share, 3),
        len(report.faults),
        clock_time(worst.start_s) if worst else "",
        _rounded(worst.offset_ms, 1) if worst else "",
        spreadsheet_text(summary(report)),
    )


def _path(path: str) -> str:
    """A path that still leads to the file, but is no formula, and no comment in a list."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "#", *string.whitespace)) else path


def _rounded(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits) + 0.0
