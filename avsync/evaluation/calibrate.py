"""Fits a checkpoint's `Calibration` on prepared clips whose true offset is known, and writes it to its card.

Each case is a piece of a clip whose audio was moved by a known number of frames, as a user's file
would be; one in SWAPPED_EVERY has another clip's audio instead, so that any answer to it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, FRAME_RATE, MIN_PROBABILITY, PROTOCOL_RADIUS, SAMPLE_RATE
from avsync.core.errors import UsageError
from avsync.core.files import file_sha256, write_whole
from avsync.core.records import Clip, Scores, Waveform
from avsync.data.labels import Recorded, delay_of, read_delays, read_recordings, shares, speaker
from avsync.data.shards import Store
from avsync.estimate.calibration import (
    Calibration,
    calibration_error_by_chance,
    expected_calibration_error,
    reliability_table,
)
from avsync.evaluation.fitting import Case, fit, is_right, long_peaks, measured_cases
from avsync.evaluation.interval import share_interval
from avsync.networks import card, checkpoint
from avsync.networks.checkpoint import Loaded, read_card
from avsync.networks.scoring import score_clip

MAX_SHIFT = 10
"""Largest shift of a case's audio, in frames."""
SHORTEST_S, LONGEST_S = 1.2, 10.0
SWAPPED_EVERY = 4
MARGIN_S = 0.8
"""Audio kept before and after the excerpt, as in a longer file."""
BALANCE = 0.5
"""How much speakers with many minutes are damped (`labels.shares`)."""
ENOUGH_CASES = 40
"""Fewest cases of a language for figures of its own."""
MAIN_FIGURES = (
    "cases",
    "expected_calibration_error",
    "error_by_chance",
    "matched_answered",
    "answered_right",
    "swapped_answered",
    "interval_holds",
)


def make_cases(
    loaded: Loaded,
    store: Store,
    delays_ms: Mapping[str, float],
    count: int,
    *,
    stride: int = 1,
    seed: int = 0,
    swapped_every: int = SWAPPED_EVERY,
    longest_s: float = LONGEST_S,
    progress: Callable[[int, int], None] | None = None,
) -> list[Case]:
    """`count` cases from the clips of `store`, long ones and rare speakers more often.

    `delays_ms`: by how much the stored audio of a clip (by id, or the start of one) must be delayed
    to be in sync. `swapped_every`: each so-many-th case has another speaker's audio; 0: none has."""
    rng = np.random.default_rng(seed)
    cases = []
    for number, index in enumerate(rng.choice(len(store), count, p=shares(store, BALANCE))):
        swapped = swapped_every > 0 and number % swapped_every == swapped_every - 1
        first, frames = _stretch(store.clips[index].frames, longest_s, rng)
        source = stranger(store, index, frames, rng) if swapped else int(index)
        shift_ms = FRAME_MS * rng.uniform(-MAX_SHIFT, MAX_SHIFT)
        delay_ms = delay_of(store.clips[source], delays_ms) or 0.0
        begin = int(rng.integers(0, max(1, store.clips[source].frames - frames + 1))) if swapped else first
        audio = _audio(store, source, begin, frames, delay_ms - shift_ms)
        audio = replace(audio, start_s=audio.start_s + (first - begin) / FRAME_RATE)
        clip = Clip(0, first / FRAME_RATE, store.mouths(index)[first : first + frames], whole=True)
        starts = np.arange(0, len(clip.mouths) - 4, stride)
        logits = score_clip(loaded, clip, starts, audio, PROTOCOL_RADIUS)
        shifts = np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
        scores = Scores(0, clip.start_s + starts / FRAME_RATE, shifts, logits)
        cases.append(Case(store.clips[index].id, scores, None if swapped else shift_ms))
        if progress:
            progress(number + 1, count)
    return cases


def _stretch(available: int, longest_s: float, rng: np.random.Generator) -> tuple[int, int]:
    """(first, how many) of the `available` frames: SHORTEST_S to `longest_s`, short ones more often."""
    longest = min(available, int(longest_s * FRAME_RATE))
    shortest = min(longest, int(SHORTEST_S * FRAME_RATE))
    frames = int(np.exp(rng.uniform(np.log(shortest), np.log(longest + 1e-9))))
    return int(rng.integers(0, available - frames + 1)), frames


def stranger(store: Store, index: int, frames: int, rng: np.random.Generator) -> int:
    """A clip of another speaker that is at least as long, or else the longest one."""
    speakers = np.array([speaker(clip) for clip in store.clips])
    lengths = np.array([clip.frames for clip in store.clips])
    others = np.flatnonzero(speakers != speakers[index])
    enough = others[lengths[others] >= min(frames, lengths[others].max())]
    return int(rng.choice(enough))


def _audio(store: Store, source: int, first: int, frames: int, delay_ms: float) -> Waveform:
    """The audio from frame `first` on, and a margin, of a clip whose audio is delayed by `delay_ms`."""
    samples = store.samples(source)
    start_s = delay_ms / 1000
    low = max(0, round((first / FRAME_RATE - MARGIN_S - start_s) * SAMPLE_RATE))
    high = round(((first + frames) / FRAME_RATE + MARGIN_S - start_s) * SAMPLE_RATE)
    return Waveform(samples[low:high], start_s + low / SAMPLE_RATE)


def quality(cases: Sequence[Case], calibration: Calibration) -> dict[str, object]:
    """Quality of the calibration on `cases`: figures for the card, as plain values. `error_by_chance`: what
    the calibration error of probabilities that are exactly right stays below in 95 of 100 such sets;
    `..._interval`: 95 % intervals of shares."""
    measured = measured_cases(cases, calibration)
    sure = np.array([m.probability for m, _ in measured])
    right = np.array([is_right(m, c) for m, c in measured])
    foreign = np.array([c.truth_ms is None for _, c in measured])
    confident = sure >= MIN_PROBABILITY
    errors = np.array([abs(m.offset_ms - c.truth_ms) for m, c in measured if c.truth_ms is not None])
    inside = [
        abs(m.offset_ms - c.truth_ms) <= m.uncertainty_ms
        for (m, c), t, r in zip(measured, confident, right, strict=True)
        if t and r and c.truth_ms is not None
    ]
    peaks, strangers = long_peaks(measured)
    level = -np.inf if calibration.mismatch_level is None else calibration.mismatch_level
    speakers = np.array([speaker(c) for _, c in measured])
    return {
        "cases": len(measured),
        "expected_calibration_error": round(expected_calibration_error(sure, right), 4),
        "error_by_chance": round(calibration_error_by_chance(sure), 4),
        "reliability": [[round(p, 3), round(y, 3), n] for p, y, n in reliability_table(sure, right)],
        "matched_right": _share(right[~foreign]),
        "matched_answered": _share(confident[~foreign]),
        "answered_right": _share(right[confident & ~foreign]),
        "swapped_answered": _share(confident[foreign]),
        "matched_answered_interval": _interval(confident[~foreign], speakers[~foreign]),
        "swapped_answered_interval": _interval(confident[foreign], speakers[foreign]),
        "median_error_ms": round(float(np.median(errors)), 1),
        "interval_holds": _share(np.array(inside)),
        "long_swapped_below_level": _share(strangers < level),
        "long_matched_below_level": _share(peaks < level),
    }


def _share(flags: npt.NDArray[np.bool_]) -> float | None:
    return round(float(np.mean(flags)), 4) if len(flags) else None


def _interval(flags: npt.NDArray[np.bool_], speakers: npt.NDArray[np.str_]) -> list[float] | None:
    return [round(end, 4) for end in share_interval(flags, speakers)] if len(flags) else None


def write_card(path: Path, calibration: Calibration, figures: Mapping[str, object]) -> None:
    """Write the calibration and its figures to the card beside the checkpoint, atomically."""
    content = {
        **read_card(path),
        "sha256": file_sha256(path),
        "calibration": calibration.to_dict(),
        "calibration_quality": dict(figures),
    }
    write_whole(path.with_suffix(".yaml"), card.to_yaml(content), what="the card")


def calibrate(
    model: str | Path,
    cache: Path,
    *,
    splits: Sequence[str] = ("val",),
    delays: Path | None = None,
    delays_only: Sequence[str] = (),
    count: int = 800,
    seed: int = 0,
    recordings: Path | None = None,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Fit a checkpoint's calibration on prepared clips and write it to its card; returns how good it is.

    The calibration fitted on either half of the speakers is also measured on the other half. `delays`: a file
    as in training; of the splits `delays_only`, only the clips that it names are used. `count` pieces are
    measured. `recordings`: a CSV of id, recording and language, for figures by language too. `keep`: measure
    the calibration that the card has, and change nothing.

    Raises UsageError where there is no such clip, ModelError for a checkpoint that cannot be used.
    """
    loaded = checkpoint.load(model)
    known = read_delays(str(delays) if delays else None)
    store = Store(cache, list(splits)).select(
        lambda clip: clip.split not in delays_only or delay_of(clip, known) is not None
    )
    if not len(store):
        raise UsageError(f"{cache} has no clip to calibrate on in the split {','.join(splits)}.")
    recorded = read_recordings(recordings) if recordings else {}
    cases = make_cases(loaded, store, known, count, seed=seed, progress=progress)
    calibration = Calibration.from_dict(loaded.calibration) if keep else fit(cases)
    figures = quality(cases, calibration) | by_language(cases, calibration, recorded)
    if not keep:
        figures |= {"on_speakers_not_fitted_on": held_out_quality(cases)}
        write_card(loaded.path, calibration, figures)
    return figures


def by_language(
    cases: Sequence[Case], calibration: Calibration, recorded: Mapping[str, Recorded]
) -> dict[str, Any]:
    """{"by_language": ...}: the main figures of the cases of each language that has enough of them. A clip
    that is not in `recorded` counts to the first letters of its id. Nothing where no language is known."""
    if not recorded:
        return {}
    groups: dict[str, list[Case]] = {}
    for case in cases:
        known = recorded.get(case.id)
        groups.setdefault(known.language if known else case.id[:2], []).append(case)
    figures = {
        name: quality(found, calibration)
        for name, found in sorted(groups.items())
        if len(found) >= ENOUGH_CASES
    }
    return {"by_language": {name: {k: row[k] for k in MAIN_FIGURES} for name, row in figures.items()}}


def held_out_quality(cases: Sequence[Case]) -> dict[str, float]:
    """Calibration error and share of right answers on each half of the speakers with the fit on the other."""
    speakers = sorted({speaker(c) for c in cases})
    first = set(speakers[::2])
    halves = [[c for c in cases if (speaker(c) in first) == side] for side in (True, False)]
    judged = [
        (m.probability, is_right(m, c), c.truth_ms is None)
        for mine, other in (halves, halves[::-1])
        for m, c in measured_cases(mine, fit(other))
    ]
    sure, right, foreign = (np.array(column) for column in zip(*judged, strict=True))
    confident = sure >= MIN_PROBABILITY
    return {
        "expected_calibration_error": round(expected_calibration_error(sure, right), 4),
        "matched_answered": _share(confident[~foreign]) or 0.0,
        "answered_right": _share(right[confident & ~foreign]) or 0.0,
        "swapped_answered": _share(confident[foreign]) or 0.0,
    }
