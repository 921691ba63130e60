"""Cases whose true offset is known -> a `Calibration`: temperature, probability, bias, interval, and the
thresholds of support, contradiction, and an offset of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, FRAME_S, MIN_PROBABILITY
from avsync.core.records import Scores
from avsync.data.labels import speaker
from avsync.estimate import offset
from avsync.estimate.calibration import Calibration, fit_calibration, fit_temperature, probability
from avsync.estimate.peak import BRIEF_FIT_S, FIT_S, Floats, Measure, evidence, measure, peculiarity
from avsync.estimate.speakers import summed
from avsync.estimate.support import ASKED_S
from avsync.evaluation.interval import share_interval

COVERED = 0.95
FLOORS_MS = (10.0, 15.0, 20.0)
"""Widths (95 %) tried for the error that no amount of evidence removes: a recording's own, up to half a
frame."""
RIDGE = 3.0
"""Keeps the weights of correlated features close to each other."""
LONG = 8
"""Fewest independent observations of an excerpt that counts for the mismatch level."""
MIN_MISMATCHED_SHARE = 0.3
"""A level that identifies fewer swapped clips than this is not used."""
ENOUGH_STRETCHES = 40
"""With fewer stretches that match, or that do not, the thresholds are not fitted."""
CLEAR = 0.98
"""Probability from which on a case is one of the clearest, which the logistic model tells no further apart:
the errors that are left are others, such as a truth that is wrong."""
ENOUGH_CLEAR = 400
"""With fewer of the clearest cases the ceiling is not fitted."""
BY_CHANCE = 0.02
"""Share of another's speech that has an offset of its own."""
LEAST_SUPPORT = 1.0
"""Least log-likelihood ratio, against a blind guess, of an offset that counts as supported."""


@dataclass(frozen=True)
class Case:
    """Scores of one excerpt, and its true offset in ms (None: the audio is another clip's)."""

    id: str
    scores: Scores
    truth_ms: float | None


def fit(cases: Sequence[Case]) -> Calibration:
    """Temperature, probability and its ceiling, bias, interval, mismatch level and limits from cases."""
    matched = [(c.scores, c.truth_ms) for c in cases if c.truth_ms is not None]
    base = fit_temperature([s.logits for s, _ in matched], [_column(s, t) for s, t in matched])
    measured = measured_cases(cases, base)
    right = np.array([is_right(m, c) for m, c in measured])
    errors = np.array([m.offset_ms - c.truth_ms for m, c in measured if c.truth_ms is not None])
    near = errors[np.abs(errors) <= FRAME_MS]
    bias = float(np.median(near)) if len(near) else 0.0
    features = np.array([m.features for m, _ in measured])
    base = fit_calibration(features, right, replace(base, bias_ms=bias), RIDGE)
    speakers = np.array([speaker(c) for _, c in measured])
    base = replace(base, ceiling=_ceiling(features, right, speakers, base))
    measured = measured_cases(cases, base)
    spread, floor = _interval(measured, base)
    base = replace(base, spread=spread, floor_ms=floor, mismatch_level=_mismatch_level(measured))
    return _own_offsets(cases, _support(cases, base))


def _support(cases: Sequence[Case], base: Calibration) -> Calibration:
    """`base` with support and contradiction: what one in a hundred stretches of another's speech reaches at
    an offset, and what 95 % of it stays below without one in a hundred that match. Support is likelier than a
    blind guess, a contradiction less likely; where there are too few cases, both stay as they are."""
    said: list[float] = []
    foreign: list[float] = []
    for case, total in _stretches(cases, ASKED_S, base):
        there = offset.near(total, case.scores.shifts, (case.truth_ms or 0.0) + base.bias_ms)
        (foreign if case.truth_ms is None else said).append(there)
    if len(said) < ENOUGH_STRETCHES or len(foreign) < ENOUGH_STRETCHES:
        return base
    support = max(LEAST_SUPPORT, float(np.quantile(foreign, 0.99)))
    contradiction = min(0.0, float(np.quantile(foreign, 0.95)), float(np.quantile(said, 0.01)))
    return replace(base, support=support, contradiction=contradiction / ASKED_S)


def _own_offsets(cases: Sequence[Case], base: Calibration) -> Calibration:
    """`base` with what BY_CHANCE of the stretches of another's speech have at their likeliest offset; where
    there are too few, it stays as it is."""
    swapped = [case for case in cases if case.truth_ms is None]
    fits: dict[float, list[float]] = {FIT_S: [], BRIEF_FIT_S: []}
    stand_out: list[float] = []
    for seconds, found in fits.items():
        for _, total in _stretches(swapped, seconds, base):
            inner = 1 + int(total[1:-1].argmax())
            found.append(float(total[inner]))
            stand_out.append(peculiarity(total, int(total.argmax()), seconds))
    if min(map(len, fits.values())) < ENOUGH_STRETCHES:
        return base
    fit, brief = (max(0.0, float(np.quantile(found, 1 - BY_CHANCE))) for found in fits.values())
    peculiar = float(np.quantile(stand_out, 1 - BY_CHANCE, method="lower"))
    return replace(base, fit=fit, brief_fit=max(fit, brief), peculiar=max(0.0, peculiar))


def _stretches(
    cases: Sequence[Case], seconds: float, calibration: Calibration
) -> Iterator[tuple[Case, Floats]]:
    """The case, and what it says of each offset, (n_shifts,), of each stretch of so many seconds."""
    for case in cases:
        times = case.scores.times_s
        for first in np.arange(times[0], times[-1] + 1.5 * FRAME_S - seconds, seconds):
            inside = (times >= first - FRAME_S / 2) & (times < first + seconds - FRAME_S / 2)
            yield case, summed(case.scores, np.flatnonzero(inside), calibration)


def _column(scores: Scores, truth_ms: float) -> int:
    """Column of the true offset among the shifts."""
    return int(np.argmin(np.abs(-FRAME_MS * scores.shifts - truth_ms)))


def measured_cases(cases: Iterable[Case], calibration: Calibration) -> list[tuple[Measure, Case]]:
    found = [(evidence(c.scores, calibration), c) for c in cases]
    return [(measure(e, calibration), c) for e, c in found if len(e.rows)]


def is_right(m: Measure, case: Case) -> bool:
    return case.truth_ms is not None and abs(m.offset_ms - case.truth_ms) <= FRAME_MS


def _ceiling(
    features: Floats, right: npt.NDArray[np.bool_], speakers: npt.NDArray[np.str_], calibration: Calibration
) -> float:
    """What share of the clearest cases is right, at the least; with too few of them it stays as it is."""
    clear = probability(features, replace(calibration, ceiling=1.0)) >= CLEAR
    if clear.sum() < ENOUGH_CLEAR:
        return calibration.ceiling
    return share_interval(right[clear], speakers[clear])[0]


def _interval(measured: Sequence[tuple[Measure, Case]], calibration: Calibration) -> tuple[float, float]:
    """(spread, floor in ms): the pair with the narrowest intervals among those that hold for 95 % of the
    confident answers at the right peak.

    The floor is the error that remains with unlimited evidence, the spread corrects what resampling misses; a
    larger spread instead of a floor would widen the intervals where there is little evidence.
    """
    confident = [
        (abs(m.offset_ms - c.truth_ms), m.uncertainty_ms)
        for m, c in measured
        if c.truth_ms is not None
        and m.probability >= MIN_PROBABILITY
        and abs(m.offset_ms - c.truth_ms) <= FRAME_MS
    ]
    if not confident:
        return calibration.spread, calibration.floor_ms
    errors, known = np.array(confident).T
    own = np.sqrt(np.maximum(known**2 - calibration.floor_ms**2, 1.0)) / calibration.spread

    def width(pair: tuple[float, float]) -> float:
        return float(np.log(np.hypot(pair[0] * own, pair[1])).mean())

    def fitting(floor: float) -> tuple[float, float]:
        missed = np.sqrt(np.maximum(errors**2 - floor**2, 0.0)) / own
        return max(0.5, float(np.quantile(missed, COVERED))), floor

    return min(map(fitting, FLOORS_MS), key=width)


def _mismatch_level(measured: Sequence[tuple[Measure, Case]]) -> float | None:
    """A peak height that 98 % of the matching excerpts exceed, if it identifies enough swapped ones; from
    long excerpts only."""
    peaks, foreign = long_peaks(measured)
    if len(peaks) < 50 or len(foreign) < 15:
        return None
    level = float(np.quantile(peaks, 0.02))
    return level if np.mean(foreign < level) >= MIN_MISMATCHED_SHARE else None


def long_peaks(measured: Sequence[tuple[Measure, Case]]) -> tuple[Floats, Floats]:
    """Peak heights of the matching and of the swapped excerpts that are long enough."""
    long = [(m, c) for m, c in measured if m.observations >= LONG]
    peaks = [
        [float(np.nanmax(m.curve)) for m, c in long if (c.truth_ms is None) == swap] for swap in (False, True)
    ]
    return np.array(peaks[0]), np.array(peaks[1])
