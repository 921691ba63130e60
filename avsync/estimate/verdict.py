"""An Offset -> which defects a video has, and the verdict. Pure numpy, no I/O.

Three defects are distinguished: a constant offset, a drift, and local faults, which are stretches whose
offset differs from that of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avsync.core.constants import MAX_DRIFT_MS_PER_MIN, MIN_JUDGED, MIN_PROBABILITY
from avsync.core.records import Scores, Span
from avsync.core.report import Fault, Offset, Reason, ReasonKind, Segment, Severity, Verdict
from avsync.core.tolerance import exceeds, excess
from avsync.estimate.pieces import MIN_APART_MS
from avsync.estimate.support import DOUBT_TALK_S, Contradiction

MISMATCH_SPEECH_S = 10.0
"""Seconds of foreign speech over moving mouths before a video that fits nowhere is called a mismatch."""
FOREIGN_PROBABILITY = 0.95
"""Share of the speech called foreign that is indeed someone else's: see `speakers`."""
SEVERE = 2.0
"""A fault that exceeds its limit by this factor or more is severe."""
MIN_PART_S = 1.0
"""A shorter mismatch beside a stretch with another offset is not reported as a fault."""
HINTED_SHARE = 0.2
"""A video of which this share (0..1) favours another offset is not called in sync."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one file and its reasons; `faults` in order of time; `contested`: a good part of it
    contradicts the offset, though not clearly enough for a fault."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    faults: tuple[Fault, ...] = ()
    contested: bool = False


def judge(
    offset: Offset,
    tolerance_ms: tuple[float, float],
    max_drift_ms_per_min: float = MAX_DRIFT_MS_PER_MIN,
    *,
    foreign: Sequence[Contradiction] = (),
    talk_s: float = 0.0,
    contested: float = 0.0,
    judged_share: float = 1.0,
    min_judged: float = MIN_JUDGED,
    min_fault_s: float = 0.0,
    min_probability: float = MIN_PROBABILITY,
) -> Judgement:
    """The verdict on an offset, and the reasons for it.

    tolerance_ms: largest error in tolerance, (audio early, audio late); foreign: speech that the lips
    seen there do not say; talk_s: seconds of speech over moving mouths; contested: what `contested_share`
    says; judged_share: of the speech over visible talking faces, the share that the offset covers;
    min_fault_s: shorter local faults, in seconds, are slight. A stretch that is out of tolerance makes the
    whole video so, unless it is such a fault.
    """
    if offset.offset_ms is None or offset.uncertainty_ms is None:
        return Judgement("cannot-tell", offset.reasons)
    sure = [(f.start_s, f.end_s) for f in foreign if f.sure]
    measured = local_faults(offset.segments, tolerance_ms, offset.offset_ms, sure)
    apart = [(fault.start_s, fault.end_s) for fault in measured]
    others = tuple(
        Fault(start_s, end_s, None, None, FOREIGN_PROBABILITY, "severe", "mismatch")
        for span in sure
        for start_s, end_s in _outside(span, apart)
    )
    foreign_s = sum(f.talk_s for f in foreign if f.sure)
    if offset.probability < min_probability:
        if foreign_s >= MISMATCH_SPEECH_S:
            return Judgement("mismatch", (Reason("mismatch"),), others)
        return Judgement("cannot-tell", offset.reasons or (Reason("thin-evidence"),))
    faults = _in_order([*measured, *others])
    brief = [fault for fault in faults if fault.end_s - fault.start_s < min_fault_s]
    faults = tuple(replace(fault, severity="slight") if fault in brief else fault for fault in faults)
    drifts = exceeds(offset.drift_ms_per_min, max_drift_ms_per_min)
    reasons = [*offset.reasons, *_drift(offset, max_drift_ms_per_min), *map(_fault, faults)]
    if not offset.drift_ms_per_min:
        reasons += _close_calls(offset.offset_ms, offset.uncertainty_ms, tolerance_ms)
    outside = [
        s
        for s in offset.segments
        if excess(s.offset_ms, tolerance_ms) > 1
        and not (s.fault and any(f.start_s <= s.start_s < f.end_s for f in brief))
    ]
    others = tuple(fault for fault in others if fault not in brief)
    out = excess(offset.offset_ms, tolerance_ms) > 1 or drifts or bool(outside)
    doubts = _doubts(offset.segments, tolerance_ms, contested, out=out)
    contradicted = bool(doubts)
    if not contradicted:
        doubts = [*_hints(offset.segments, tolerance_ms, out=out)]
        doubtful = (one for one in foreign if one.against and not one.sure and one.talk_s >= DOUBT_TALK_S)
        doubts += [_at("against", stretch) for stretch in doubtful]
    if foreign_s > talk_s / 2:
        return Judgement("mismatch", (Reason("mismatch"), *reasons, *doubts), faults, contested=contradicted)
    if out or others:
        return Judgement("out-of-sync", (*reasons, *doubts), faults, contested=contradicted)
    if contradicted:
        return Judgement("cannot-tell", (*reasons, *doubts), faults, contested=True)
    if judged_share < min_judged:
        partly = Reason("partly-judged", {"judged_share": judged_share, "min_judged": min_judged})
        return Judgement("partly-judged", (partly, *reasons, *doubts), faults)
    if doubts:
        return Judgement("partly-judged", (*doubts, *reasons), faults)
    return Judgement("in-sync", tuple(reasons), faults)


def _outside(span: Span, taken: Sequence[Span]) -> list[Span]:
    """The parts of a stretch (start, end) that lie outside of those `taken`, without slivers: what has
    another offset is not a mismatch."""
    parts = [span]
    for start_s, end_s in taken:
        parts = [
            part
            for first, past in parts
            for part in ((first, min(past, start_s)), (max(first, end_s), past))
            if part[1] > part[0]
        ]
    return [(first, past) for first, past in parts if past - first >= MIN_PART_S]


def _in_order(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.start_s))


def _doubts(
    segments: Sequence[Segment], tolerance_ms: tuple[float, float], contested: float, *, out: bool
) -> list[Reason]:
    """What contradicts the offset, if it is a good part of the video."""
    hints = _hints(segments, tolerance_ms, out=out)
    hinted_s = sum(hint.values["end_s"] - hint.values["start_s"] for hint in hints)
    if hinted_s >= HINTED_SHARE * _seconds(segments) > 0:
        return hints
    if contested >= HINTED_SHARE:
        return [_at("against", segment) for segment in segments if segment.against]
    return []


def _hints(segments: Sequence[Segment], tolerance_ms: tuple[float, float], *, out: bool) -> list[Reason]:
    """The stretches that favour another offset; in a video otherwise in sync, only those out of tolerance."""
    return [
        _at("hint", segment, offset_ms=segment.hint_ms)
        for segment in segments
        if segment.hint_ms is not None and (out or excess(segment.hint_ms, tolerance_ms) > 1)
    ]


def local_faults(
    segments: Sequence[Segment],
    tolerance_ms: tuple[float, float],
    rest_ms: float,
    foreign: Sequence[Span] = (),
) -> tuple[Fault, ...]:
    """The stretches that differ from the rest, whose offset is `rest_ms`; those with the same offset and
    nothing else between them that was judged are one. A fault takes in what says too little beside it, but
    says so rather than the rest, and is not `foreign`, someone else's speech."""
    faults: list[Fault] = []
    unbroken = False
    before: Segment | None = None
    for s in segments:
        if s.offset_ms is None or s.uncertainty_ms is None:
            begins = s.start_between_s is not None
            if not s.fault or any(first < s.end_s and s.start_s < past for first, past in foreign):
                before = None
            elif faults and faults[-1].end_s == s.start_s and not begins:
                faults[-1] = replace(faults[-1], end_s=s.end_s, end_between_s=s.end_between_s)
            elif before is None or begins or before.end_s != s.start_s:
                before = s
            else:
                before = replace(before, end_s=s.end_s)
            continue
        lead, before = before, None
        if not s.fault:
            unbroken = False
            continue
        start_s, start_between_s, offset_ms = s.start_s, s.start_between_s, s.offset_ms
        last = faults[-1] if faults and unbroken else None
        if (
            last
            and last.offset_ms is not None
            and abs(last.offset_ms - s.offset_ms) <= max(s.uncertainty_ms, MIN_APART_MS)
        ):
            faults.pop()
            start_s, start_between_s = last.start_s, last.start_between_s
            # Each offset is that of its middle, so their mean by length is that of the middle of both.
            share = (s.end_s - s.start_s) / (s.end_s - start_s)
            offset_ms = share * s.offset_ms + (1 - share) * last.offset_ms
        elif lead and lead.end_s == s.start_s and s.start_between_s is None:
            start_s, start_between_s = lead.start_s, lead.start_between_s
        grade = severity(offset_ms, tolerance_ms, rest_ms)
        fault = Fault(start_s, s.end_s, offset_ms, s.uncertainty_ms, s.probability, grade)
        faults.append(replace(fault, start_between_s=start_between_s, end_between_s=s.end_between_s))
        unbroken = True
    return tuple(faults)


def severity(offset_ms: float, tolerance_ms: tuple[float, float], rest_ms: float = 0.0) -> Severity:
    """How bad a local fault is by its distance from the tolerance: "slight" within it, "severe" from twice
    the limit on. Where the rest of the video is out of tolerance, by `rest_ms`, what would be within it once
    that is put right is slight as well."""
    times = excess(offset_ms, tolerance_ms)
    if excess(rest_ms, tolerance_ms) > 1:
        times = min(times, excess(offset_ms - rest_ms, tolerance_ms))
    return "severe" if times >= SEVERE else "clear" if times > 1 else "slight"


def _seconds(segments: Sequence[Segment]) -> float:
    return sum(s.end_s - s.start_s for s in segments)


def contested_share(
    tracks: Sequence[Scores], speaking: Sequence[npt.NDArray[np.bool_]], segments: Sequence[Segment]
) -> float:
    """Share (0..1) of the windows with speech over moving lips that lie where scores contradict the answer.

    speaking: by track (n_windows,), where the mouth moves while speech is heard; of the tracks that count.
    """
    times = np.concatenate([np.zeros(0), *(s.times_s[w] for s, w in zip(tracks, speaking, strict=True))])
    inside = np.zeros(len(times), bool)
    for segment in segments:
        if segment.against:
            inside |= (times >= segment.start_s) & (times < segment.end_s)
    return float(inside.mean()) if len(times) else 0.0


# --- Reasons -----------------------------------------------------------------------------


def _drift(offset: Offset, limit: float) -> list[Reason]:
    drift, unsure = offset.drift_ms_per_min, offset.drift_uncertainty_ms_per_min
    if not drift:
        return []
    values = {"drift_ms_per_min": drift, "limit_ms_per_min": limit, **_line_ends(offset.segments, drift)}
    reasons = [Reason("drift", values)]
    if unsure and abs(abs(drift) - limit) < unsure:
        near = {"limit_ms_per_min": limit, "uncertainty_ms_per_min": unsure}
        reasons.append(Reason("drift-near-limit", near))
    return reasons


def _line_ends(segments: Sequence[Segment], drift: float) -> dict[str, float]:
    """When the first stretch that is on the line of a drift begins, and the last ends, and the offset on that
    line there."""
    known = [(s.start_s, s.end_s, s.offset_ms) for s in segments if s.offset_ms is not None and not s.fault]
    if not known:
        return {}
    # The offset of a stretch is that of its middle, on one line for all of them.
    (start_s, first_past_s, offset_ms), end_s = known[0], known[-1][1]
    from_ms = offset_ms - drift / 60 * (first_past_s - start_s) / 2
    to_ms = from_ms + drift / 60 * (end_s - start_s)
    return {"from_s": start_s, "from_ms": from_ms, "to_s": end_s, "to_ms": to_ms}


def _close_calls(offset_ms: float, uncertainty_ms: float, tolerance_ms: tuple[float, float]) -> list[Reason]:
    early, late = tolerance_ms
    return [
        Reason("near-limit", {"limit_ms": limit, "uncertainty_ms": uncertainty_ms})
        for limit in (early, -late)
        if abs(offset_ms - limit) < uncertainty_ms
    ]


def _fault(fault: Fault) -> Reason:
    if fault.offset_ms is None:
        return _at("mismatch-fault", fault)
    return _at("fault", fault, offset_ms=fault.offset_ms)


def _at(kind: ReasonKind, stretch: Segment | Fault | Contradiction, **values: float) -> Reason:
    return Reason(kind, {"start_s": stretch.start_s, "end_s": stretch.end_s, **values})
