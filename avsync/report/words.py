"""A Report in words, as versioned JSON, and as the exit code of `check`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from avsync.core.constants import MIN_PROBABILITY, MIN_SPEECH_S, STANDARD_NAMES
from avsync.core.records import Report, Verdict
from avsync.core.tolerance import defects

VERDICT_WORDS: dict[Verdict, str] = {
    "in-sync": "in sync",
    "out-of-sync": "OUT OF SYNC",
    "mismatch": "LIPS DO NOT MATCH",
    "cannot-tell": "cannot tell",
    "error": "ERROR",
}


# --- Words -------------------------------------------------------------------------------


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


def drift_words(drift_ms_per_min: float) -> str:
    """ "growing early by 60 ms a minute": which way the audio goes against the picture."""
    way = "early" if drift_ms_per_min > 0 else "late"
    return f"growing {way} by {abs(drift_ms_per_min):.0f} ms a minute"


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
