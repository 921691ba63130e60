"""How well synthetic programmes are judged: verdicts, location of faults, repairs, and probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from avsync.audio import vad
from avsync.bench.programme_clips import Material
from avsync.bench.programmes import TOLERANCE_MS, Defect, Kind, Programme, compose
from avsync.core.constants import FRAME_MS, FRAME_S, MIN_JUDGED, MIN_SPEECH_S
from avsync.core.report import Report, Verdict
from avsync.core.tolerance import own_offset, unmendable
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import Seams
from avsync.estimate.repairable import repair_shift
from avsync.pipeline import conclude
from avsync.repair import retime

LOCATED_S = 3.0
"""A defect with at least this many seconds of speech over visible faces must be found and located."""
NEAR_S = 0.3
"""A defect is located if each end is within this."""
SAME_MS = 60.0
"""A fault identifies a defect if its offset is within this of the true one."""
SLACK_MS = 10.0
"""The audio of a programme is placed with a precision of half a step of 20 ms."""
LEFT_S = 0.5
"""Seconds of speech that a repair may leave out of tolerance, since the ends of faults are not exactly
known."""
LOCAL: frozenset[Kind] = frozenset(("scene", "scenes", "dubbed", "jump"))
OUT: frozenset[Verdict] = frozenset(("out-of-sync", "mismatch"))
REPAIRABLE: frozenset[Kind] = frozenset(("offset", "scene", "scenes", "jump", "drift"))


@dataclass(frozen=True)
class Found:
    """A defect that must be located: whether the report names it, and the error of its worse end in seconds:
    `error_s` in full, `told_s` without adjacent time in which no visible person speaks, where nothing could
    be told."""

    defect: Defect
    found: bool
    error_s: float = math.inf
    told_s: float = math.inf


@dataclass(frozen=True)
class Repair:
    """Seconds of speech out of tolerance before and after what `fix-offset` would do; `after_s` None: it does
    nothing. `shifted`: by a single shift of all audio."""

    before_s: float
    after_s: float | None
    shifted: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a programme was judged. `defective`: it has a defect that must be noticed; `defects`: those in one
    place; `unlimited`: the verdict if any share of the speech were enough; `offset_right`: whether the offset
    is that of most of the speech within one frame, None if none was reported; the drift in ms a minute, as
    made and as reported."""

    seed: int
    kind: Kind
    duration_s: float
    defective: bool
    verdict: Verdict
    probability: float
    offset_right: bool | None
    defects: tuple[Found, ...]
    drift_ms_per_min: float
    told_drift_ms_per_min: float | None
    repair: Repair
    judged_share: float
    unlimited: Verdict


def run(
    clips: Sequence[Material], calibration: Calibration, seeds: Sequence[int], jobs: int = 1
) -> list[Outcome]:
    """Compose and judge the programmes of `seeds` in several processes; the outcomes by seed."""
    some = partial(_some, clips, calibration)
    if jobs == 1:
        return some(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(some, [seeds[i::jobs] for i in range(jobs)]))
    return sorted((each for part in found for each in part), key=lambda o: o.seed)


def _some(clips: Sequence[Material], calibration: Calibration, seeds: Sequence[int]) -> list[Outcome]:
    made = (compose(clips, seed) for seed in seeds)
    return [outcome(programme, judged(programme, calibration)) for programme in made]


def judged(programme: Programme, calibration: Calibration) -> Report:
    """The report of a programme, as a check with `min_judged` 0 would produce it."""
    report = Report(
        f"programme {programme.seed}", "cannot-tell", duration_s=programme.duration_s, min_judged=0.0
    )
    return conclude.judged(
        *(report, programme.looked, programme.speech, calibration, programme.duration_s, "stopped"),
        seams=Seams(pauses=vad.pauses(programme.speech)),
    )


def outcome(programme: Programme, report: Report) -> Outcome:
    """Compare a report with the defects of its programme."""
    local = programme.defects if programme.kind in LOCAL else ()
    seen_s = report.speech_seen_s or 0.0
    judged_share = (report.speech_judged_s or 0.0) / seen_s if seen_s >= MIN_SPEECH_S else 1.0
    return Outcome(
        *(programme.seed, programme.kind, programme.duration_s, programme.defective),
        *(
            limited(report.verdict, judged_share, MIN_JUDGED),
            report.probability,
            _offset_right(programme, report),
        ),
        tuple(_found(defect, programme, report) for defect in local),
        *(programme.drift_ms_per_min, report.drift_ms_per_min, _repair(programme, report)),
        *(judged_share, report.verdict),
    )


def limited(verdict: Verdict, judged_share: float, min_judged: float) -> Verdict:
    """The verdict where "in sync" takes `min_judged` of the speech, both 0..1."""
    return "partly-judged" if verdict == "in-sync" and judged_share < min_judged else verdict


def _offset_right(programme: Programme, report: Report) -> bool | None:
    """Whether the offset is that of a good part of the speech; with drift, that of the middle."""
    if report.offset_ms is None:
        return None
    error = programme.error_ms[programme.talking]
    if programme.drift_ms_per_min or not len(error):
        error = np.full(1, np.median(programme.error_ms))
    values, counts = np.unique(np.rint(error), return_counts=True)
    often = values[counts >= 0.4 * counts.sum()]
    return bool((np.abs(often - report.offset_ms) <= FRAME_MS).any())


# --- Finding and locating -----------------------------------------------------------------


def _found(defect: Defect, programme: Programme, report: Report) -> Found:
    if report.verdict not in OUT or not _names(defect, programme, report):
        return Found(defect, False)
    edges = sorted({0.0, programme.duration_s, *_changes(report)})
    errors, told = [], []
    for edge in (defect.start_s, defect.end_s):
        early, late = _silence(programme, edge)
        errors.append(min(abs(place - edge) for place in edges))
        told.append(min(max(early - place, place - late, 0.0) for place in edges))
    return Found(defect, True, max(errors), max(told))


def _names(defect: Defect, programme: Programme, report: Report) -> bool:
    """Whether the report gives most of the speech in a defect its offset, or calls it a mismatch."""
    times = np.flatnonzero(programme.talking) * FRAME_S
    times = times[(times >= defect.start_s) & (times < defect.end_s)]
    named = np.zeros(len(times), bool)
    if defect.offset_ms is None:
        if report.verdict == "mismatch":
            return True
        for fault in report.faults:
            if fault.offset_ms is None:
                named |= (times >= fault.start_s) & (times < fault.end_s)
    else:
        for segment in report.segments:
            if abs(own_offset(segment) - defect.offset_ms) <= SAME_MS:
                named |= (times >= segment.start_s) & (times < segment.end_s)
    return bool(named.mean() >= 0.5)


def _changes(report: Report) -> list[float]:
    """Times at which the offset changes by the report, or a mismatch begins or ends."""
    edges = [edge for fault in report.faults for edge in (fault.start_s, fault.end_s)]
    for before, after in pairwise(report.segments):
        if abs((before.offset_ms or 0.0) - (after.offset_ms or 0.0)) > FRAME_MS:
            edges += [before.end_s, after.start_s]
    return edges


def _silence(programme: Programme, edge_s: float) -> tuple[float, float]:
    """The stretch around a time in which no visible person speaks."""
    talking = np.flatnonzero(programme.talking) * FRAME_S
    before, after = talking[talking < edge_s], talking[talking >= edge_s]
    return (
        float(before[-1]) + FRAME_S if len(before) else 0.0,
        float(after[0]) if len(after) else programme.duration_s,
    )


# --- Repairing ----------------------------------------------------------------------------


def _repair(programme: Programme, report: Report) -> Repair:
    """What `fix-offset` would do: a single shift if that suffices, else re-timing."""
    before_s = _out_s(programme, programme.error_ms)
    shift = repair_shift(report)
    if shift is not None:
        return Repair(before_s, _out_s(programme, programme.error_ms - shift.offset_ms), True)
    if report.verdict != "out-of-sync" or unmendable(report) or report.offset_ms is None:
        return Repair(before_s, None)
    times = np.arange(len(programme.error_ms)) * FRAME_S
    removed = np.zeros(len(times))
    for part in retime.stretches(report):
        inside = (times >= part.start_s) & (times < part.end_s)
        removed[inside] = part.offset_ms + part.slope * (times[inside] - part.at_s)
    return Repair(before_s, _out_s(programme, programme.error_ms - removed))


def _out_s(programme: Programme, error_ms: npt.NDArray[np.float64]) -> float:
    """Seconds of speech out of tolerance."""
    early, late = TOLERANCE_MS
    out = (error_ms > early + SLACK_MS) | (error_ms < -late - SLACK_MS)
    return float((out & programme.talking).sum()) * FRAME_S
