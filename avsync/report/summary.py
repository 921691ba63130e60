"""A Report in sentences: the verdict, what it rests on, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from avsync.core.constants import MIN_SPEECH_S, STANDARD_NAMES
from avsync.core.report import Fault, Reason, Report
from avsync.core.text import printable
from avsync.core.tolerance import defects
from avsync.report.reasons import fault_words, reason_words
from avsync.report.words import offset_words, percent, span_words

MAX_FAULTS = 3
"""Faults that a summary names."""
MIN_UNSEEN_S = 1.0
"""Shorter speech without a visible speaker is not mentioned."""


def no_drift_words(report: Report) -> str:
    """That no drift is seen, and how large one could go unnoticed: per minute, or over the whole video if it
    is shorter than that."""
    possible = report.drift_possible_ms_per_min
    if possible is None:
        return "none found"
    if report.duration_s is None or report.duration_s >= 60:
        return f"none found; less than {possible:.0f} ms a minute could go unnoticed"
    total_ms = possible * report.duration_s / 60
    return f"none found; less than {total_ms:.0f} ms over the whole video could go unnoticed"


def _joined(reasons: Sequence[str]) -> str:
    return "; ".join(reason.rstrip(".") for reason in reasons)


def summary(report: Report) -> str:
    """One sentence, without the path."""
    return _summary(report)[0]


def notes(report: Report) -> list[str]:
    """The sentences of the reasons that `summary` does not cover."""
    said = _summary(report)[1]
    return [reason_words(reason) for reason in report.reasons if reason.kind not in said]


def _summary(report: Report) -> tuple[str, set[str]]:
    """The sentence, and the kinds of reasons that it covers."""
    kinds: set[str] = {reason.kind for reason in report.reasons}
    reasons = _joined([reason_words(reason) for reason in report.reasons])
    if report.verdict == "mismatch":
        apart = [fault for fault in report.faults if fault.kind == "mismatch"]
        if apart and any(segment.offset_ms is not None for segment in report.segments):
            return f"the lips do not match the speech at {_spans(apart)}", {
                "mismatch",
                "mismatch-fault",
            }
        return reason_words(Reason("mismatch")), {"mismatch"}
    if report.verdict in ("cannot-tell", "error"):
        return reasons or "no reason is known", kinds
    if report.offset_ms is None or not math.isfinite(report.offset_ms):
        return reasons or "see the segments", kinds
    if report.verdict == "in-sync":
        return _in_sync(report.offset_ms), set()
    if report.verdict == "partly-judged":
        told: set[str] = {"partly-judged"} if "partly-judged" in kinds else {"hint", "against", "unread-end"}
        why = _joined([reason_words(reason) for reason in report.reasons if reason.kind in told])
        return f"{why}; as far as it goes, {_in_sync(report.offset_ms)}", told
    found = set(defects(report))
    faults = _faults(report)
    if faults and found <= {"local", "mismatch"} and not report.contested:
        return f"in sync but for {faults}", {"fault", "mismatch-fault"}
    several = report.drift_ms_per_min or report.faults or report.contested
    if several or found != {"offset"}:
        detail = reasons or "parts of it are out of tolerance"
        return f"audio is {offset_words(report.offset_ms)} on the whole, but {detail}", kinds
    return _repair_words(report.offset_ms), set()


def _in_sync(offset_ms: float) -> str:
    size = offset_words(offset_ms)
    return f"audio is {size}, within tolerance" if size != "0 ms" else "audio and lips agree"


def _faults(report: Report) -> str:
    """The faults that are out of tolerance: "0:24.8-0:36.6: 274 ms late"."""
    bad = [fault for fault in report.faults if fault.severity != "slight"]
    said = [f"{span_words(f.start_s, f.end_s)}: {fault_words(f)}" for f in bad[:MAX_FAULTS]]
    more = [f"{len(bad) - MAX_FAULTS} more"] if len(bad) > MAX_FAULTS else []
    return "; ".join([*said, *more])


def _spans(faults: Sequence[Fault]) -> str:
    """When faults are: "0:00.0-0:24.0, 0:30.0-0:36.0"."""
    said = [span_words(fault.start_s, fault.end_s) for fault in faults[:MAX_FAULTS]]
    more = [f"{len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
    return ", ".join([*said, *more])


def _repair_words(offset_ms: float) -> str:
    """What is wrong and what fixes it."""
    size = abs(offset_ms)
    known = f"{size:.0f} ms" if size >= 0.5 else f"{size:.2g} ms"
    side, verb = ("early", "delaying") if offset_ms > 0 else ("late", "advancing")
    return f"audio is {known} {side}; {verb} it by {known} fixes it"


def limits_words(report: Report) -> str:
    """The standard and its limits in words."""
    early, late = report.tolerance_ms
    name = STANDARD_NAMES.get(report.standard, report.standard)
    drift = f"a drift of {report.max_drift_ms_per_min:.0f} ms a minute"
    profile = report.settings.get("profile")
    named = f"profile {printable(Path(profile).stem)}: " if profile else ""
    brief = f"; faults from {report.min_fault_s:g} s on" if report.min_fault_s else ""
    return f"{named}{name}, audio at most {early:.0f} ms early or {late:.0f} ms late; at most {drift}{brief}"


def speech_words(report: Report) -> str | None:
    """How much speech there is, how much of it a visible talking face says, and what share of that was
    judged; None if that was not measured."""
    if report.speech_s is None or report.speech_seen_s is None or report.speech_judged_s is None:
        return None
    if report.speech_s < MIN_SPEECH_S:
        return "none heard"
    unseen_s = max(0.0, report.speech_s - report.speech_seen_s)
    unseen = f"; {unseen_s:.0f} s without" if unseen_s >= MIN_UNSEEN_S else ""
    seen = f"{report.speech_seen_s:.0f} s" if unseen else "all"
    if report.speech_seen_s < MIN_SPEECH_S:
        return f"{report.speech_s:.0f} s, none of it with a visible speaker"
    share = min(1.0, report.speech_judged_s / report.speech_seen_s)
    judged = "all" if share == 1 else percent(share)
    return f"{report.speech_s:.0f} s, {seen} of it with a visible speaker ({judged} judged){unseen}"
