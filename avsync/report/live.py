"""A reading of a live stream in words."""

from __future__ import annotations

from avsync.core.report import Report
from avsync.report.reasons import reason_words
from avsync.report.words import offset_words, percent


def reading_words(report: Report | None, failed: str) -> str:
    """One line: the verdict, the offset with its uncertainty, or why there is none."""
    if report is None:
        return f"not connected: {failed}"
    if report.offset_ms is None or report.verdict in ("cannot-tell", "mismatch"):
        why = reason_words(report.reasons[0]) if report.reasons else ""
        return f"{report.verdict}  {why}".rstrip()
    sure = f"within {report.uncertainty_ms:.0f} ms, " if report.uncertainty_ms is not None else ""
    return f"{report.verdict}  {offset_words(report.offset_ms)} ({sure}{percent(report.probability)} sure)"
