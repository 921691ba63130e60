"""How likely a verdict is right: near a limit, half a frame decides, however sure the offset. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from avsync.core.report import Fault, Offset, Reason, Verdict
from avsync.core.tolerance import exceeds, within
from avsync.estimate.verdict import FOREIGN_PROBABILITY, Judgement

INTERVAL_SIGMAS = 1.96
"""Standard deviations in half a 95 % interval."""
LEAST_IN_SYNC = 0.5
"""Probability below which "in sync" is not told."""
LEAST_MS = 1.0
"""No interval is taken for narrower."""


def verdict_probability(
    verdict: Verdict,
    offset: Offset,
    faults: Sequence[Fault],
    tolerance_ms: tuple[float, float],
    max_drift_ms_per_min: float,
) -> float | None:
    """Probability, 0..1, that a verdict is right; None for one that leaves the question open.

    The true offset of a stretch lies around the measured one as its interval says. A file is in sync if all
    judged stretches are within tolerance, (audio early, audio late), and the offset is the right one at all;
    it is out of sync if its clearest defect is one.
    """
    if offset.offset_ms is None:
        return None
    early, late = tolerance_ms
    stretches = [(offset.offset_ms, offset.uncertainty_ms, offset.probability)]
    stretches += [
        (s.offset_ms, s.uncertainty_ms, s.probability) for s in offset.segments if s.offset_ms is not None
    ]
    if verdict == "in-sync":
        # A fault that is too brief to count may be out of tolerance.
        counted = [(ms, interval) for ms, interval, _ in stretches if within(ms, tolerance_ms)]
        shares = [_share_between(-late, early, ms, interval) for ms, interval in counted]
        return offset.probability * min(shares, default=1.0)
    foreign = [fault.probability for fault in faults if fault.kind == "mismatch"]
    if verdict == "mismatch":
        return max(foreign, default=FOREIGN_PROBABILITY)
    if verdict != "out-of-sync":
        return None
    outside = [sure * (1 - _share_between(-late, early, ms, interval)) for ms, interval, sure in stretches]
    drift, limit = offset.drift_ms_per_min, max_drift_ms_per_min
    if drift is not None and exceeds(drift, limit):
        steady = _share_between(-limit, limit, drift, offset.drift_uncertainty_ms_per_min)
        outside.append(offset.probability * (1 - steady))
    return max(outside + foreign)


def settled(answer: Judgement, offset: Offset, tolerance_ms: tuple[float, float]) -> Judgement:
    """The same, but where "in sync" is likelier wrong than right, limits being narrower than the offset is
    known, it is left open."""
    if answer.verdict != "in-sync" or offset.uncertainty_ms is None:
        return answer
    sure = verdict_probability("in-sync", offset, answer.faults, tolerance_ms, math.inf)
    if sure is None or sure >= LEAST_IN_SYNC:
        return answer
    early, late = tolerance_ms
    limits = {"uncertainty_ms": offset.uncertainty_ms, "early_ms": early, "late_ms": late}
    others = tuple(reason for reason in answer.reasons if reason.kind != "near-limit")
    return replace(answer, verdict="cannot-tell", reasons=(Reason("narrow-limits", limits), *others))


def _share_between(low: float, high: float, middle: float, interval: float | None) -> float:
    """Share of a normal distribution around `middle`, 95 % of which lies within `interval` of it."""
    sigma = max(interval or 0.0, LEAST_MS) / INTERVAL_SIGMAS

    def below(value: float) -> float:
        return 0.5 * math.erfc((middle - value) / sigma / math.sqrt(2))

    return below(high) - below(low)
