"""A Report as JSON for people and programs, with its sentences; and the exit code of `check`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from avsync.core import document
from avsync.core.errors import EXIT_CANNOT_TELL, EXIT_ERROR, EXIT_IN_SYNC, EXIT_OUT_OF_SYNC
from avsync.core.report import Reason, Report, Verdict
from avsync.report.reasons import cause_words, face_words, reason_words
from avsync.report.summary import summary

EXIT_CODES: dict[Verdict, int] = {
    "in-sync": EXIT_IN_SYNC,
    "out-of-sync": EXIT_OUT_OF_SYNC,
    "mismatch": EXIT_OUT_OF_SYNC,
    "partly-judged": EXIT_CANNOT_TELL,
    "cannot-tell": EXIT_CANNOT_TELL,
    "error": EXIT_ERROR,
}


def exit_code(reports: Sequence[Report]) -> int:
    """Exit code of one report, or the highest of several.

    As with `diff` and `grep`, trouble outranks a difference: an unreadable file (4) outranks one that could
    not be judged (3), which outranks one that is out of sync or mismatched (1).
    """
    return max((EXIT_CODES[report.verdict] for report in reports), default=EXIT_ERROR)


def to_dict(report: Report) -> dict[str, Any]:
    """`Report.to_dict` with sentences added: a summary, and the text of each code."""
    plain = document.to_dict(report)
    worded = {
        "summary": summary(report),
        "reasons": _worded(plain["reasons"], report.reasons),
        "tracks": [
            {
                **track,
                "cause_text": face_words(of),
                "reasons": _worded(track["reasons"], of.offset.reasons if of.offset else ()),
            }
            for track, of in zip(plain["tracks"], report.tracks, strict=True)
        ],
        "unjudged": [
            {**stretch, "text": cause_words(of)}
            for stretch, of in zip(plain["unjudged"], report.unjudged, strict=True)
        ],
    }
    first = {name: plain[name] for name in ("schema", "path", "verdict")}
    return {**first, "summary": None, **plain, **worded}


def _worded(plain: Sequence[Mapping[str, Any]], reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    return [{**p, "text": reason_words(reason)} for p, reason in zip(plain, reasons, strict=True)]


def to_json(reports: Sequence[Report], *, many: bool) -> str:
    """One document, or a list of them if `many`; ends with a newline."""
    documents = [to_dict(report) for report in reports]
    return json.dumps(documents if many else documents[0], indent=2, allow_nan=False) + "\n"


def to_line(report: Report, more: Mapping[str, Any] | None = None) -> str:
    """The document and `more` on one line, with its newline, for `--jsonl`."""
    return json.dumps({**to_dict(report), **(more or {})}, allow_nan=False) + "\n"
