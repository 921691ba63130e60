"""Score matrix -> averaged curve over the offsets, its peak, and how sure that peak is. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, MIN_PROBABILITY
from avsync.core.records import Scores, Span
from avsync.estimate.calibration import Calibration, log_ratios, probability

Floats = npt.NDArray[np.float64]

MIN_COVERAGE = 0.2
"""A candidate offset is judged when this share of the windows has it."""
RIVAL_FRAMES = 2
"""A rival peak lies more than this many frames from the best one."""
RESAMPLINGS = 400
MIN_NEAR = RESAMPLINGS // 10
"""With fewer resamplings at the same peak its width is not known."""
MAX_BLOCKS = 400
MIN_BLOCKS = 3
"""With fewer independent observations nothing can be said about their noise."""
MANY = 25.0
"""Independent observations beyond which their number says no more about the probability; calibration
uses pieces of about this length."""
FIT_S = 3.0
BRIEF_FIT_S = 2.0
"""Seconds of speech for which `calibration.fit` and `calibration.brief_fit` hold."""


@dataclass(frozen=True)
class Evidence:
    """What the windows say. `rows` (n_windows, n_shifts): log-likelihood ratios, NaN where missing; `logits`
    (n_windows, n_shifts): what the network gave, whose level the ratios do not show; `times_s` (n_windows,);
    `shifts` (n_shifts,); `weights` (n_windows,): 0..1; `cuts`: times at which a shot begins, `breaks`: at
    which the audio is interrupted, and `pauses` (n, 2): stretches [start, end) without speech, in all of
    which an offset is likelier to change than elsewhere."""

    rows: Floats
    logits: npt.NDArray[np.float32]
    times_s: Floats
    shifts: npt.NDArray[np.int64]
    weights: Floats
    cuts: Floats = field(default_factory=lambda: np.zeros(0))
    breaks: Floats = field(default_factory=lambda: np.zeros(0))
    pauses: Floats = field(default_factory=lambda: np.zeros((0, 2)))

    def of(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Evidence:
        """What these windows say, by their numbers or a mask."""
        own = {name: getattr(self, name)[chosen] for name in ("rows", "logits", "times_s", "weights")}
        return replace(self, **own)


@dataclass(frozen=True)
class Seams:
    """Where the audio is likelier to have been cut than elsewhere: `breaks`, the times at which it is
    interrupted, and `pauses` [start, end) of the speech, in seconds."""

    breaks: Sequence[float] = ()
    pauses: Sequence[Span] = ()


@dataclass(frozen=True)
class Measure:
    """One constant offset for a set of windows; fields as in `report.Offset`. `features` in the order of
    calibration.FEATURES; `rival_ms`: the best offset elsewhere; `observations`: independent ones."""

    offset_ms: float
    uncertainty_ms: float
    probability: float
    evidence: float
    at_edge: bool
    curve: Floats
    features: tuple[float, ...]
    rival_ms: float | None
    observations: float


def evidence(
    scores: Scores,
    calibration: Calibration,
    weights: npt.ArrayLike | None = None,
    cuts: npt.ArrayLike = (),
    seams: Seams = Seams(),
) -> Evidence:
    """Log-likelihood ratios of `scores`, without the windows that have fewer than two candidates."""
    rows = log_ratios(scores.logits, calibration.temperature, calibration.outlier)
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    kept = np.isfinite(rows).any(axis=1) & (w > 0)
    begins, breaks = (np.asarray(times, np.float64) for times in (cuts, seams.breaks))
    pauses = np.asarray(seams.pauses, np.float64).reshape(-1, 2)
    whole = Evidence(rows, scores.logits, scores.times_s, scores.shifts, w, begins, breaks, pauses)
    return whole.of(kept)


def average(scores: Scores, calibration: Calibration | None = None) -> Floats:
    """Mean log-likelihood ratio of each offset, (n_shifts,); NaN where too few windows have the candidate."""
    found = evidence(scores, calibration or Calibration())
    if not len(found.rows):
        return np.full(len(scores.shifts), np.nan)
    return averaged(*block_sums(found, np.zeros(len(found.rows), np.int64)))[0]


def block_sums(found: Evidence, block: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Weighted sums and weights over the windows of each block, (n_blocks, n_shifts) both."""
    exists = np.isfinite(found.rows)
    blocks, columns = int(block.max(initial=-1)) + 1, found.rows.shape[1]
    # Several times as fast as np.add.at.
    cell = (block[:, None] * columns + np.arange(columns)).ravel()

    def total(values: Floats) -> Floats:
        sums = np.bincount(cell, (values * found.weights[:, None]).ravel(), blocks * columns)
        return np.asarray(sums.reshape(blocks, columns), np.float64)

    return total(np.where(exists, found.rows, 0)), total(exists.astype(np.float64))


def averaged(sums: Floats, counts: Floats) -> Floats:
    """Means (..., n_shifts) of sums over counts, drawn to the middle where windows lack the candidate.

    Fewer windows mean a noisier mean, which would win (or lose) by chance; the factor makes the noise
    of all candidates equal. Candidates below MIN_COVERAGE are NaN.
    """
    cover = counts / np.maximum(counts.max(axis=-1, keepdims=True), 1e-12)
    judged = cover >= MIN_COVERAGE
    mean = np.where(judged, sums / np.maximum(counts, 1e-12), 0)
    centre = mean.sum(axis=-1, keepdims=True) / np.maximum(judged.sum(axis=-1, keepdims=True), 1)
    return np.where(judged, centre + (mean - centre) * np.sqrt(cover), np.nan)


def peak(curve: npt.ArrayLike, shifts: npt.NDArray[np.int64]) -> tuple[float, bool]:
    """Offset in ms at the top of `curve` (n_shifts,), by a parabola through the best three candidates,
    and whether the top lies at the edge of what was judged. Raises ValueError when all are NaN."""
    curve = np.asarray(curve, np.float64)
    judged = np.flatnonzero(np.isfinite(curve))
    if not len(judged):
        raise ValueError("no candidate offset was judged")
    best = int(np.nanargmax(curve))
    return float(_positions(curve[None], shifts)[0]), best in (judged[0], judged[-1])


def _positions(curves: Floats, shifts: npt.NDArray[np.int64]) -> Floats:
    """(n, n_shifts) -> (n,): offset in ms at the top of each curve."""
    step = int(shifts[1] - shifts[0]) if len(shifts) > 1 else 1
    padded = np.pad(curves, ((0, 0), (1, 1)), constant_values=np.nan)
    best = np.nanargmax(padded, axis=1)
    at = np.arange(len(curves))
    left, top, right = (padded[at, best + d] for d in (-1, 0, 1))
    bend = left - 2 * top + right
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(bend < 0, 0.5 * (left - right) / bend, 0.0)
    place = shifts[best - 1] + step * np.nan_to_num(np.clip(part, -0.5, 0.5))
    return np.asarray(-FRAME_MS * place, np.float64)


def measure(found: Evidence, calibration: Calibration) -> Measure:
    """The constant offset that `found` supports, with its uncertainty and probability.

    The uncertainty assumes that this is the right peak; the probability accounts for the others.
    Deterministic: the resampling of blocks of windows (neighbouring windows overlap, so they are drawn
    together) uses a fixed seed. Raises ValueError without windows.
    """
    if not len(found.rows):
        raise ValueError("there is no window to measure")
    block = time_blocks(found.times_s, calibration.dependence_s)
    sums, counts = block_sums(found, block)
    curve = averaged(sums.sum(axis=0), counts.sum(axis=0))
    offset, at_edge = peak(curve, found.shifts)
    draws = np.random.default_rng(0).exponential(size=(RESAMPLINGS, len(sums)))
    draws /= draws.sum(axis=1, keepdims=True)
    curves = averaged(draws @ sums, draws @ counts)
    curves = np.where(np.isfinite(curves).any(axis=1, keepdims=True), curves, curve)
    errors = np.abs(_positions(curves, found.shifts) - offset)
    spread = np.where(np.isfinite(curves), curves - curve, np.nan)[:, np.isfinite(curve)]
    few = np.sqrt(
        (len(sums) + 1) / max(len(sums) - 1, 1)
    )  # resampling m blocks shows (m - 1) / (m + 1) of their variance
    noise = few * float(np.sqrt(np.nanmean(spread**2)))
    observations = _independent(found, calibration.dependence_s)
    agreement = float(np.mean(errors <= FRAME_MS))
    features, rival = _features(found, curve, counts.sum(axis=0), noise, agreement, observations)
    sure = float(probability(features, calibration))
    near = errors[errors <= RIVAL_FRAMES * FRAME_MS]
    told = near if len(near) >= MIN_NEAR else errors
    at_edge = at_edge or _rises_at_edge(curve, noise)
    return Measure(
        offset_ms=offset - calibration.bias_ms,
        uncertainty_ms=float(
            np.hypot(calibration.spread * few * np.quantile(told, 0.95), calibration.floor_ms)
        ),
        probability=min(sure, MIN_PROBABILITY / 2) if at_edge or rival is None else sure,
        evidence=_height(curve) / max(noise, 1e-9) if len(sums) >= MIN_BLOCKS else 0.0,
        at_edge=at_edge,
        curve=curve,
        features=features,
        rival_ms=None if rival is None else rival - calibration.bias_ms,
        observations=observations,
    )


def time_blocks(times_s: Floats, seconds: float) -> npt.NDArray[np.int64]:
    """Number of the block, 0.., of each window: at least `seconds` long, at most MAX_BLOCKS in all."""
    seconds = max(seconds, float(np.ptp(times_s)) / MAX_BLOCKS)
    cell = np.floor((times_s - times_s.min()) / seconds + 1e-6).astype(np.int64)
    return np.unique(cell, return_inverse=True)[1].reshape(-1)


def _independent(found: Evidence, seconds: float) -> float:
    """How many windows are independent: each `seconds` with windows counts once, by its highest weight."""
    cell = np.unique(np.floor((found.times_s - found.times_s.min()) / seconds + 1e-6), return_inverse=True)[1]
    best = np.zeros(int(cell.max()) + 1)
    np.maximum.at(best, cell.reshape(-1), found.weights)
    return float(best.sum())


def _features(
    found: Evidence, curve: Floats, counts: Floats, noise: float, agreement: float, observations: float
) -> tuple[tuple[float, ...], float | None]:
    """(gap, agreement, observations, total, lead, level, overall) and the rival's offset in ms, None when
    there is no rival.

    gap: the peak over its best rival in units of the noise, compressed (arcsinh); agreement: log odds of a
    resampling to be within a frame of the answer; observations: log of how many windows are independent, as
    far as MANY; total, lead: how much likelier the answer is than a blind guess, by the windows that have it,
    and than its rival: roots of the sums, in nats, over independent windows; level: the mean logit at the
    answer; overall: the mean over windows of the log of the mean of e^logit over all offsets. The others
    compare offsets with each other. Of foreign audio, too, one is the best, in a second of speech even by
    far, but lips and audio seldom go together as well as those of one speaker.
    """
    shifts, best = found.shifts, int(np.nanargmax(curve))
    there = np.isfinite(found.logits[:, best])
    level = float(np.average(found.logits[there, best], weights=found.weights[there]))
    overall = float(np.average(_log_means(found.logits), weights=found.weights))
    far = np.where(np.abs(shifts - shifts[best]) > RIVAL_FRAMES, curve, np.nan)
    if not np.isfinite(far).any() or observations < MIN_BLOCKS:
        return (0.0, -2.0, 0.0, 0.0, 0.0, level, overall), None  # as unsure as noise is
    rival = int(np.nanargmax(far))
    gap = float(np.arcsinh((curve[best] - far[rival]) / max(noise, 1e-9)))
    odds = float(np.log((agreement * RESAMPLINGS + 1) / ((1 - agreement) * RESAMPLINGS + 1)))
    covered = observations * counts[best] / counts.max()
    total = float(np.sqrt(max(curve[best] * covered, 0.0)))
    lead = float(np.sqrt(max(curve[best] - curve[rival], 0.0) * observations))
    features = (gap, odds, float(np.log(min(observations, MANY))), total, lead, level, overall)
    return features, float(-FRAME_MS * shifts[rival])


def _log_means(logits: npt.NDArray[np.float32]) -> Floats:
    """Of each row (n, n_shifts) -> (n,): the log of the mean of e^logit over the offsets that exist."""
    top = np.nanmax(logits, axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.nanmean(np.exp(logits - top), axis=1)), np.float64)


def _height(curve: Floats) -> float:
    """The peak over the mean of the candidates that are not beside it, nats per window."""
    best = int(np.nanargmax(curve))
    rest = np.delete(curve, slice(max(0, best - RIVAL_FRAMES), best + RIVAL_FRAMES + 1))
    return float(curve[best] - np.nanmean(rest)) if np.isfinite(rest).any() else 0.0


def _rises_at_edge(curve: Floats, noise: float) -> bool:
    """Whether the curve climbs towards an edge and ends there within the noise of its top."""
    y = curve[np.isfinite(curve)]
    if len(y) < 2:
        return True
    near = y.max() - noise
    return bool((y[0] > y[1] and y[0] >= near) or (y[-1] > y[-2] and y[-1] >= near))


def peculiarity(total: Floats, column: int, seconds: float) -> float:
    """By how much (natural logarithm) an offset's column of `total` (n_shifts,), the log-likelihood ratios of
    `seconds` of speech, is likelier than all but its neighbours, over the root of the seconds: of
    other people's speech it hardly depends on their number. -inf at the edge of the search."""
    if column in (0, len(total) - 1):
        return -np.inf
    away = np.abs(np.arange(len(total)) - column) > 1
    return float(total[column] - total[away].max(initial=-np.inf)) / np.sqrt(seconds)


def least_fit(seconds: float, calibration: Calibration) -> float:
    """The log-likelihood ratio that an offset of its own takes in so many seconds of speech."""
    brief = min(max(FIT_S - seconds, 0.0) / (FIT_S - BRIEF_FIT_S), 1.0)
    return calibration.fit + (calibration.brief_fit - calibration.fit) * brief
