"""Figures of synthetic programmes that were judged: rates, curves and tables as plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from avsync.bench.programme_outcomes import (
    LEFT_S,
    LOCATED_S,
    NEAR_S,
    OUT,
    REPAIRABLE,
    Outcome,
    Repair,
    limited,
)
from avsync.bench.programmes import CLEAR, TOLERANCE_MS, Defect
from avsync.estimate.calibration import reliability_table


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


def by_least_judged(outcomes: Sequence[Outcome]) -> list[tuple[float, float | None, float | None]]:
    """Rows (share of the speech that "in sync" takes, share of defective programmes that are called so, share
    of clean ones that are called partly judged)."""
    rows = []
    for least in (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        given = [(o, limited(o.unlimited, o.judged_share, least)) for o in outcomes]
        wrong = _share(verdict == "in-sync" for o, verdict in given if o.defective)
        rows.append((least, wrong, _share(v == "partly-judged" for o, v in given if o.kind == "clean")))
    return rows


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
        "by_least_judged": by_least_judged(outcomes),
        "reliability": reliability(outcomes),
        "programmes": [asdict(o) for o in outcomes],
    }
