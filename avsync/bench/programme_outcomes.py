"""How well synthetic programmes are judged: verdicts, location of faults, repairs, and probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.bench.programme_clips import Material
from avsync.bench.programmes import CLEAR, TOLERANCE_MS, Defect, Kind, Programme, compose
from avsync.core.constants import FRAME_MS, FRAME_S
from avsync.core.report import Report, Verdict
from avsync.core.tolerance import own_offset
from avsync.estimate.calibration import Calibration, reliability_table
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
    place; `offset_right`: whether the offset is that of most of the speech within one frame, None if none was
    reported; the drift in ms a minute, as made and as reported."""

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
    """The report of a programme, as a check would produce it."""
    report = Report(f"programme {programme.seed}", "cannot-tell", duration_s=programme.duration_s)
    return conclude.judged(
        report, programme.looked, programme.speech, calibration, programme.duration_s, "stopped"
    )


def outcome(programme: Programme, report: Report) -> Outcome:
    """Compare a report with the defects of its programme."""
    local = programme.defects if programme.kind in LOCAL else ()
    seen_s = report.speech_seen_s or 0.0
    return Outcome(
        *(programme.seed, programme.kind, programme.duration_s, programme.defective),
        *(report.verdict, report.probability, _offset_right(programme, report)),
        tuple(_found(defect, programme, report) for defect in local),
        *(programme.drift_ms_per_min, report.drift_ms_per_min, _repair(programme, report)),
        (report.speech_judged_s or 0.0) / seen_s if seen_s else 0.0,
    )


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
    if report.verdict != "out-of-sync" or report.contested or report.offset_ms is None:
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


# --- Figures ------------------------------------------------------------------------------


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """The figures of docs/programmes.md: rates are shares 0..1, None if there is nothing to count."""
    bad = [o for o in outcomes if o.defective]
    clean = [o for o in outcomes if o.kind == "clean"]
    local = [f for o in bad for f in o.defects if f.defect.counts and f.defect.speech_s >= LOCATED_S]
    named = [each for each in local if each.found]
    drifts = [o for o in bad if o.kind == "drift"]
    shiftable = [o.repair for o in bad if o.kind == "offset"]
    repairable = [o.repair for o in bad if o.kind in REPAIRABLE]
    tried = [o.repair for o in outcomes if o.repair.after_s is not None]
    return {
        "programmes": len(outcomes),
        "hours": sum(o.duration_s for o in outcomes) / 3600,
        "defective": len(bad),
        "false_in_sync": _share(o.verdict == "in-sync" for o in bad),
        "called_out": _share(o.verdict in OUT for o in bad),
        "clean": len(clean),
        "false_alarms": _share(o.verdict in OUT for o in clean),
        "clean_in_sync": _share(o.verdict == "in-sync" for o in clean),
        "local_defects": len(local),
        "found": _share(each.found for each in local),
        "located": _share(each.told_s <= NEAR_S for each in named),
        "located_as_is": _share(each.error_s <= NEAR_S for each in named),
        "drifts": len(drifts),
        "drifts_found": _share(drift_found(o) for o in drifts),
        "shiftable": len(shiftable),
        "shifted_within_tolerance": _share(map(_mended, shiftable)),
        "repairable": len(repairable),
        "repaired_within_tolerance": _share(map(_mended, repairable)),
        "repairs_tried": len(tried),
        "made_worse": _share(map(made_worse, tried)),
        "median_judged_share": float(np.median([o.judged_share for o in outcomes])) if outcomes else None,
    }


def robustness(outcomes: Sequence[Outcome], again: Sequence[Outcome]) -> dict[str, float | None]:
    """How verdicts change when the same programmes are judged `again` with face boxes slightly off; empty if
    they were not."""
    if not again:
        return {}
    pairs = list(zip(outcomes, again, strict=True))
    clean = [b for a, b in pairs if a.kind == "clean"]
    return {
        "verdict_changed": _share(a.verdict != b.verdict for a, b in pairs),
        "turned_out_of_sync": _share(b.verdict in OUT for a, b in pairs if a.verdict == "in-sync"),
        "turned_in_sync": _share(b.verdict == "in-sync" for a, b in pairs if a.verdict in OUT),
        "false_alarms_jittered": _share(b.verdict in OUT for b in clean),
        "false_in_sync_jittered": _share(b.verdict == "in-sync" for _, b in pairs if b.defective),
    }


def drift_found(o: Outcome) -> bool:
    """Whether the drift is reported, within 30 %."""
    true, told = o.drift_ms_per_min, o.told_drift_ms_per_min
    return bool(told) and abs(told - true) <= 0.3 * abs(true)


def made_worse(repair: Repair) -> bool:
    """Whether more speech is out of tolerance after a repair than before."""
    return repair.after_s is not None and repair.after_s > repair.before_s + LEFT_S


def _mended(repair: Repair) -> bool:
    return repair.after_s is not None and repair.after_s <= LEFT_S


def _share(flags: Iterable[bool]) -> float | None:
    each = list(flags)
    return sum(each) / len(each) if each else None


Row = tuple[float, float, int, float, float]


def curve(
    outcomes: Sequence[Outcome], measure: Callable[[Defect], float | None], edges: Sequence[float]
) -> list[Row]:
    """Rows (from, to, defects, share of them found, share of their programmes not called in sync) of local
    defects, binned by `measure`; None leaves a defect out."""
    points = [
        (value, each.found, o.verdict != "in-sync")
        for o in outcomes
        for each in o.defects
        if (value := measure(each.defect)) is not None
    ]
    rows = []
    for low, high in pairwise(edges):
        inside = [point for point in points if low <= point[0] < high]
        if inside:
            found, noticed = (float(np.mean([point[i] for point in inside])) for i in (1, 2))
            rows.append((low, high, len(inside), found, noticed))
    return rows


def by_speech(outcomes: Sequence[Outcome]) -> list[Row]:
    """`curve` by seconds of speech, for defects of more than twice the tolerance."""
    large = TOLERANCE_MS[1] * CLEAR
    return curve(
        outcomes,
        lambda d: d.speech_s if d.offset_ms is None or abs(d.offset_ms) >= large else None,
        (0, 1, 2, 3, 4, 6, 10, math.inf),
    )


def by_size(outcomes: Sequence[Outcome]) -> list[Row]:
    """`curve` by size in ms, for defects with LOCATED_S seconds of speech."""
    return curve(
        outcomes,
        lambda d: abs(d.offset_ms) if d.offset_ms and d.speech_s >= LOCATED_S else None,
        (40, 60, 80, 100, 120, 160, 250, math.inf),
    )


def reliability(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[float, float, int]]]:
    """Rows (mean probability, share right, count) of the whole-file probability: "offset", that the offset is
    that of most of the speech within one frame; "in-sync", that a programme called so has no defect."""
    sure = [o for o in outcomes if o.offset_right is not None]
    calm = [o for o in outcomes if o.verdict == "in-sync"]
    return {
        "offset": reliability_table([o.probability for o in sure], [bool(o.offset_right) for o in sure]),
        "in-sync": reliability_table([o.probability for o in calm], [not o.defective for o in calm]),
    }


def document(outcomes: Sequence[Outcome], again: Sequence[Outcome] = ()) -> dict[str, Any]:
    """All figures, and each programme's outcome, as plain values; `again`: as for `robustness`."""
    return {
        "figures": {**summarise(outcomes), **robustness(outcomes, again)},
        "by_speech": by_speech(outcomes),
        "by_size": by_size(outcomes),
        "reliability": reliability(outcomes),
        "programmes": [asdict(o) for o in outcomes],
    }
