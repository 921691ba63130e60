"""Fits a checkpoint's `Calibration` on prepared clips whose true offset is known.

Each case is a piece of a clip whose audio was moved by a known number of frames, as a user's file
would be; every fourth case has another clip's audio instead, so that any answer to it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from avsync.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    reliability_table,
)
from avsync.curve import Measure, evidence, measure
from avsync.distill.store import Store
from avsync.distill.tasks import delay_of
from avsync.records import Clip, Scores, Waveform
from avsync.scores import score_clip
from avsync.settings import FRAME_MS, FRAME_RATE, MIN_PROBABILITY, PROTOCOL_RADIUS, SAMPLE_RATE
from avsync.weights import Loaded, read_card

MAX_SHIFT = 10
"""Frames by which the audio of a case is moved at most."""
SHORTEST_S, LONGEST_S = 1.2, 10.0
MARGIN_S = 0.8
"""Audio kept before and after the piece, as the film around it has."""
COVERED = 0.95
MAX_ROWS = 4000
"""Windows that the temperature is fitted on; neighbours say the same, so more only cost time."""
MIN_MISMATCHED_SHARE = 0.3
"""A level that names fewer swapped clips than this is not worth having."""


@dataclass(frozen=True)
class Case:
    """Scores of one piece, and the offset in ms that is right for it (None: the audio is another clip's)."""

    id: str
    scores: Scores
    truth_ms: float | None


def make_cases(
    loaded: Loaded,
    store: Store,
    delays_ms: Mapping[str, float],
    count: int,
    *,
    stride: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Case]:
    """`count` cases from the clips of `store`, every clip as often as the others.

    `delays_ms`: by how much the stored audio of a clip (by id, or the start of one) must be delayed
    to be in sync."""
    rng = np.random.default_rng(seed)
    order = [i for _ in range(-(-count // len(store))) for i in rng.permutation(len(store))][:count]
    cases = []
    for number, index in enumerate(order):
        swapped = number % 4 == 3
        source = int(rng.choice([i for i in range(len(store)) if i != index])) if swapped else index
        shift_ms = FRAME_MS * rng.uniform(-MAX_SHIFT, MAX_SHIFT)
        clip, sound = _piece(
            store, index, source, delay_of(store.clips[source], delays_ms) or 0.0, shift_ms, rng
        )
        starts = np.arange(0, len(clip.mouths) - 4, stride)
        logits = score_clip(loaded, clip, starts, sound, PROTOCOL_RADIUS)
        shifts = np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
        scores = Scores(0, clip.start_s + starts / FRAME_RATE, shifts, logits)
        cases.append(Case(store.clips[index].id, scores, None if swapped else shift_ms))
        if progress:
            progress(number + 1, count)
    return cases


def _piece(
    store: Store, index: int, source: int, delay_ms: float, shift_ms: float, rng: np.random.Generator
) -> tuple[Clip, Waveform]:
    """Pictures of clip `index` with the sound of clip `source` early by `shift_ms`."""
    mouths = store.mouths(index)
    longest = min(len(mouths), int(LONGEST_S * FRAME_RATE))
    shortest = min(longest, int(SHORTEST_S * FRAME_RATE))
    frames = int(np.exp(rng.uniform(np.log(shortest), np.log(longest + 1e-9))))
    first = int(rng.integers(0, len(mouths) - frames + 1))
    start = first / FRAME_RATE
    samples = store.wave(source).astype(np.float32) * np.float32(1 / 32768)
    sound_start = (delay_ms - shift_ms) / 1000
    low = max(0, round((start - MARGIN_S - sound_start) * SAMPLE_RATE))
    high = round((start + frames / FRAME_RATE + MARGIN_S - sound_start) * SAMPLE_RATE)
    return (
        Clip(0, start, mouths[first : first + frames]),
        Waveform(samples[low:high], sound_start + low / SAMPLE_RATE),
    )


def fit(cases: Sequence[Case]) -> Calibration:
    """Temperature, probability, bias, interval and mismatch level from cases."""
    matched = [(c.scores, c.truth_ms) for c in cases if c.truth_ms is not None]
    thin = max(1, sum(len(s.logits) for s, _ in matched) // MAX_ROWS)
    base = fit_temperature([s.logits[::thin] for s, _ in matched], [_column(s, t) for s, t in matched])
    measured = _measure(cases, base)
    right = np.array([_is_right(m, c) for m, c in measured])
    errors = np.array([m.offset_ms - c.truth_ms for m, c in measured if c.truth_ms is not None])
    bias = float(np.median(errors[np.abs(errors) <= FRAME_MS]))
    base = fit_calibration(np.array([m.features for m, _ in measured]), right, replace(base, bias_ms=bias))
    measured = _measure(cases, base)
    return replace(base, spread=_spread(measured, base), mismatch_level=_mismatch_level(measured))


def _column(scores: Scores, truth_ms: float) -> int:
    """Column of the true offset among the shifts."""
    return int(np.argmin(np.abs(-FRAME_MS * scores.shifts - truth_ms)))


def _measure(cases: Iterable[Case], calibration: Calibration) -> list[tuple[Measure, Case]]:
    found = [(evidence(c.scores, calibration), c) for c in cases]
    return [(measure(e, calibration), c) for e, c in found if len(e.rows)]


def _is_right(m: Measure, case: Case) -> bool:
    return case.truth_ms is not None and abs(m.offset_ms - case.truth_ms) <= FRAME_MS


def _spread(measured: Sequence[tuple[Measure, Case]], calibration: Calibration) -> float:
    """Factor on the resampled interval that makes it hold for 95 % of the confident answers that are
    not plainly wrong (a wrong peak is the probability's business)."""
    ratios = []
    for m, c in measured:
        if c.truth_ms is None or m.probability < MIN_PROBABILITY:
            continue
        error, own = (
            abs(m.offset_ms - c.truth_ms),
            np.sqrt(max(m.uncertainty_ms**2 - calibration.floor_ms**2, 1.0)),
        )
        if error <= 2 * FRAME_MS:
            ratios.append(np.sqrt(max(error**2 - calibration.floor_ms**2, 0.0)) / own)
    return float(max(0.5, np.quantile(ratios, COVERED))) if ratios else calibration.spread


def _mismatch_level(measured: Sequence[tuple[Measure, Case]]) -> float | None:
    """A peak lower than that of 98 % of the matching clips, when it tells enough swapped ones.
    Long pieces only."""
    long = [(m, c) for m, c in measured if m.observations >= 8]
    peaks = [float(np.nanmax(m.curve)) for m, c in long if c.truth_ms is not None]
    foreign = [float(np.nanmax(m.curve)) for m, c in long if c.truth_ms is None]
    if len(peaks) < 50 or len(foreign) < 15:
        return None
    level = float(np.quantile(peaks, 0.02))
    return level if np.mean(np.array(foreign) < level) >= MIN_MISMATCHED_SHARE else None


def quality(cases: Sequence[Case], calibration: Calibration) -> dict[str, object]:
    """How the calibration does on `cases`: figures for the card, as plain values."""
    measured = _measure(cases, calibration)
    sure = np.array([m.probability for m, _ in measured])
    right = np.array([_is_right(m, c) for m, c in measured])
    foreign = np.array([c.truth_ms is None for _, c in measured])
    told = sure >= MIN_PROBABILITY
    errors = np.array([abs(m.offset_ms - c.truth_ms) for m, c in measured if c.truth_ms is not None])
    inside = [
        abs(m.offset_ms - c.truth_ms) <= m.uncertainty_ms
        for (m, c), t, r in zip(measured, told, right, strict=True)
        if t and r and c.truth_ms is not None
    ]
    return {
        "cases": len(measured),
        "expected_calibration_error": round(expected_calibration_error(sure, right), 4),
        "reliability": [[round(p, 3), round(y, 3), n] for p, y, n in reliability_table(sure, right)],
        "matched_right": _share(right[~foreign]),
        "matched_answered": _share(told[~foreign]),
        "answered_right": _share(right[told & ~foreign]),
        "swapped_answered": _share(told[foreign]),
        "median_error_ms": round(float(np.median(errors)), 1),
        "interval_holds": _share(np.array(inside)),
    }


def _share(flags: npt.NDArray[np.bool_]) -> float | None:
    return round(float(np.mean(flags)), 4) if len(flags) else None


def write_card(path: Path, calibration: Calibration, figures: Mapping[str, object]) -> None:
    """Puts the calibration and its figures into the card beside the checkpoint, atomically."""
    card = path.with_suffix(".yaml")
    content = {**read_card(path), "calibration": calibration.to_dict(), "calibration_quality": dict(figures)}
    draft = card.with_suffix(".yaml.tmp")
    draft.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    draft.replace(card)
