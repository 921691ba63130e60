"""Numbers, names and verdicts in words."""

from __future__ import annotations

import math

from avsync.core.constants import MIN_PROBABILITY
from avsync.core.report import Verdict

VERDICT_WORDS: dict[Verdict, str] = {
    "in-sync": "in sync",
    "out-of-sync": "OUT OF SYNC",
    "mismatch": "LIPS DO NOT MATCH",
    "partly-judged": "partly judged",
    "cannot-tell": "cannot tell",
    "error": "ERROR",
}


def clock_time(seconds: float) -> str:
    """`seconds` as m:ss.t, or h:mm:ss from an hour on; negative times keep their sign."""
    tenths = round(abs(seconds) * 10)
    sign = "-" if seconds < 0 and tenths else ""
    minutes, rest = divmod(tenths, 600)
    if minutes < 60:
        return f"{sign}{minutes}:{rest / 10:04.1f}"
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}"


def span_words(start_s: float, end_s: float) -> str:
    """ "0:24.8-0:36.6"."""
    return f"{clock_time(start_s)}-{clock_time(end_s)}"


def offset_words(offset_ms: float | None) -> str:
    """ "120 ms early", "0 ms", or "unknown"; early and late describe the audio."""
    if offset_ms is None or not math.isfinite(offset_ms):
        return "unknown"
    size = round(abs(offset_ms))
    if size == 0:
        return "0 ms"
    return f"{size} ms {'early' if offset_ms > 0 else 'late'}"


def certainty_words(probability: float) -> str:
    """A probability in words, with the figure."""
    limits = ((0.95, "almost certain"), (0.8, "likely"), (MIN_PROBABILITY, "probable"))
    word = next((word for limit, word in limits if round(probability, 2) >= limit), "unsure")
    return f"{word}, {percent(probability)}"


def percent(probability: float) -> str:
    """Whole percent; never rounds up to 100."""
    return f"{min(99, round(100 * probability)) if probability < 1 else 100} %"


def drift_words(drift_ms_per_min: float) -> str:
    """ "growing early by 60 ms a minute": which way the audio goes against the video."""
    way = "early" if drift_ms_per_min > 0 else "late"
    return f"growing {way} by {abs(drift_ms_per_min):.0f} ms a minute"
