"""An Offset -> which defects a video has, and the verdict. Pure numpy, no I/O.

Three defects are told apart: a constant offset, a drift, and local faults, which are stretches whose offset
differs from that of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avsync.core.constants import MAX_DRIFT_MS_PER_MIN, MIN_PROBABILITY
from avsync.core.records import Fault, Offset, Scores, Segment, Severity, Verdict
from avsync.core.tolerance import exceeds, excess
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import average

MISMATCH_SPEECH_S = 10.0
"""Seconds of speech over a moving mouth before lips are said not to match it."""
SEVERE = 2.0
"""A fault that exceeds its limit by this factor or more is severe."""
HINTED_SHARE = 0.2
"""Where so much of a video (0..1) rather speaks for another offset, it is not called in sync."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one file and its reasons; `faults` in order of time; `contested`: a good part of it
    speaks against the offset, though not clearly enough for a fault."""

    verdict: Verdict
    reasons: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    contested: bool = False


def judge(
    offset: Offset,
    tolerance_ms: tuple[float, float],
    max_drift_ms_per_min: float = MAX_DRIFT_MS_PER_MIN,
    *,
    mismatch: bool = False,
    contested: float = 0.0,
    min_probability: float = MIN_PROBABILITY,
) -> Judgement:
    """What to say of an offset, and why.

    tolerance_ms: largest error in tolerance, (audio early, audio late); mismatch: what `mismatched`
    says; contested: what `contested_share` says. A stretch that is out of tolerance makes the whole video so.
    """
    if offset.offset_ms is None or offset.uncertainty_ms is None:
        return Judgement("cannot-tell", offset.reasons)
    if offset.probability < min_probability:
        if mismatch:
            why = "these lips do not say this speech, at any offset that was searched"
            return Judgement("mismatch", (why,))
        return Judgement("cannot-tell", offset.reasons or ("the evidence is too thin",))
    faults = local_faults(offset.segments, tolerance_ms)
    drifts = exceeds(offset.drift_ms_per_min, max_drift_ms_per_min)
    reasons = [*offset.reasons, *_drift_words(offset, max_drift_ms_per_min), *map(_fault_words, faults)]
    if not offset.drift_ms_per_min:
        reasons += _close_calls(offset.offset_ms, offset.uncertainty_ms, tolerance_ms)
    outside = [s for s in offset.segments if excess(s.offset_ms, tolerance_ms) > 1]
    out = excess(offset.offset_ms, tolerance_ms) > 1 or drifts or bool(outside)
    # Where all else is in sync, a part that may be off by less than the limit is none to worry about.
    hinted = [
        s for s in offset.segments if s.hint_ms is not None and (out or excess(s.hint_ms, tolerance_ms) > 1)
    ]
    doubts: list[str] = []
    if _seconds(hinted) >= HINTED_SHARE * _seconds(offset.segments) > 0:
        doubts = [_hint_words(s) for s in hinted]
    elif contested >= HINTED_SHARE:
        doubts = [_against_words(s) for s in offset.segments if s.against]
    verdict = "out-of-sync" if out else "cannot-tell" if doubts else "in-sync"
    return Judgement(verdict, (*reasons, *doubts), faults, contested=bool(doubts))


def local_faults(segments: Sequence[Segment], tolerance_ms: tuple[float, float]) -> tuple[Fault, ...]:
    """The stretches that differ from the rest; neighbouring ones with the same offset are one."""
    faults: list[Fault] = []
    for s in segments:
        if not s.fault or s.offset_ms is None or s.uncertainty_ms is None:
            continue
        start_s, offset_ms = s.start_s, s.offset_ms
        last = faults[-1] if faults else None
        if last and last.end_s == s.start_s and abs(last.offset_ms - s.offset_ms) <= s.uncertainty_ms:
            faults.pop()
            start_s = last.start_s
            # Each offset is that of its middle, so their mean by length is that of the middle of both.
            share = (s.end_s - s.start_s) / (s.end_s - start_s)
            offset_ms = share * s.offset_ms + (1 - share) * last.offset_ms
        grade = severity(offset_ms, tolerance_ms)
        faults.append(Fault(start_s, s.end_s, offset_ms, s.uncertainty_ms, s.probability, grade))
    return tuple(faults)


def severity(offset_ms: float, tolerance_ms: tuple[float, float]) -> Severity:
    """How bad a local fault is: "slight" in tolerance, "severe" from twice the limit on."""
    times = excess(offset_ms, tolerance_ms)
    return "severe" if times >= SEVERE else "clear" if times > 1 else "slight"


def _seconds(segments: Sequence[Segment]) -> float:
    return sum(s.end_s - s.start_s for s in segments)


def mismatched(
    tracks: Sequence[Scores],
    speaking: Sequence[npt.NDArray[np.bool_]],
    calibration: Calibration,
    every_s: float,
) -> bool:
    """Whether the lips of every face that moves its mouth to the speech fit it at no offset at all.

    speaking: per track (n_windows,), where the mouth moves while speech is heard; what lies outside, as a
    voice-over above a silent face, says nothing. every_s: seconds from one window to the next.
    """
    level = calibration.mismatch_level
    tops = [
        float(
            np.nanmax(
                average(replace(s, times_s=s.times_s[w], logits=s.logits[w]), calibration), initial=-np.inf
            )
        )
        for s, w in zip(tracks, speaking, strict=True)
        if w.sum() * every_s >= MISMATCH_SPEECH_S
    ]
    return level is not None and bool(tops) and max(tops) < level


def contested_share(
    tracks: Sequence[Scores], speaking: Sequence[npt.NDArray[np.bool_]], segments: Sequence[Segment]
) -> float:
    """Share (0..1) of the windows with speech over moving lips that lie where scores contradict the answer.

    speaking: as in `mismatched`, for the tracks that count.
    """
    times = np.concatenate([np.zeros(0), *(s.times_s[w] for s, w in zip(tracks, speaking, strict=True))])
    inside = np.zeros(len(times), bool)
    for segment in segments:
        if segment.against:
            inside |= (times >= segment.start_s) & (times < segment.end_s)
    return float(inside.mean()) if len(times) else 0.0


# --- Words -------------------------------------------------------------------------------


def _drift_words(offset: Offset, limit: float) -> list[str]:
    if not offset.drift_ms_per_min:
        return []
    known = [s for s in offset.segments if s.offset_ms is not None and not s.fault]
    ends = [_at(s.offset_ms or 0.0) for s in (known[0], known[-1])] if known else ["?", "?"]
    over = exceeds(offset.drift_ms_per_min, limit)
    allowed = f"more than the {limit:.0f} ms allowed" if over else f"{limit:.0f} ms are allowed"
    drift, unsure = offset.drift_ms_per_min, offset.drift_uncertainty_ms_per_min
    words = [f"the offset drifts by {drift:+.0f} ms a minute ({allowed}), from {ends[0]} to {ends[1]}"]
    if unsure and abs(abs(drift) - limit) < unsure:
        words.append(
            f"the limit of {limit:.0f} ms a minute lies within the drift's uncertainty of {unsure:.0f} ms"
        )
    return words


def _close_calls(offset_ms: float, uncertainty_ms: float, tolerance_ms: tuple[float, float]) -> list[str]:
    early, late = tolerance_ms
    return [
        f"the limit of {limit:+.0f} ms lies within the uncertainty of {uncertainty_ms:.0f} ms"
        for limit in (early, -late)
        if abs(offset_ms - limit) < uncertainty_ms
    ]


def _fault_words(fault: Fault) -> str:
    return f"{_span(fault.start_s, fault.end_s)} the audio is {_at(fault.offset_ms)}"


def _hint_words(segment: Segment) -> str:
    span = _span(segment.start_s, segment.end_s)
    return f"{span} it rather seems {_at(segment.hint_ms or 0.0)}, which is too weak to be sure"


def _against_words(segment: Segment) -> str:
    return f"{_span(segment.start_s, segment.end_s)} the lips do not fit the offset of the rest"


def _span(start_s: float, end_s: float) -> str:
    return f"from {_clock(start_s)} to {_clock(end_s)}"


def _at(offset_ms: float) -> str:
    return f"{abs(offset_ms):.0f} ms {'early' if offset_ms > 0 else 'late'}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
