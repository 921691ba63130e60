"""The published evaluation, and whole-clip accuracy, on prepared clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.bench.protocol import FRAMES_K, existing_hits, protocol_hits
from avsync.calibration import Calibration
from avsync.distill.store import SAMPLES_PER_FRAME, Store
from avsync.offset import estimate
from avsync.records import Clip, Scores, Waveform
from avsync.scores import score_clip
from avsync.settings import FRAME_MS, FRAME_RATE, PROTOCOL_RADIUS, SAMPLE_RATE, WINDOW_FRAMES
from avsync.weights import Loaded

RESAMPLINGS = 1000


@dataclass(frozen=True)
class ClipResult:
    """One clip: share of its windows that are right for each input length K (5..15), as published and
    over the candidates that exist, and the whole clip's offset in ms (None: no answer), its probability
    and length in seconds."""

    id: str
    windows: int
    published: tuple[float, ...]
    existing: tuple[float, ...]
    offset_ms: float | None
    probability: float
    seconds: float

    @property
    def source(self) -> str:
        """The first two letters of the speaker's name, which tell where the clip is from."""
        return self.id[:2]


def evaluate(
    loaded: Loaded, store: Store, progress: Callable[[int, int], None] | None = None
) -> list[ClipResult]:
    """Every clip of `store` that has a window of the protocol, scored at every frame."""
    calibration = Calibration.from_dict(loaded.calibration)
    results = []
    for index, clip in enumerate(store.clips):
        windows = min(clip.frames, clip.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows > 0:
            results.append(_clip(loaded, store, index, windows, calibration))
        if progress:
            progress(index + 1, len(store.clips))
    return results


def _clip(loaded: Loaded, store: Store, index: int, windows: int, calibration: Calibration) -> ClipResult:
    mouths = Clip(0, 0.0, store.mouths(index)[: windows + WINDOW_FRAMES])
    sound = Waveform(store.wave(index).astype(np.float32) * np.float32(1 / 32768), 0.0)
    starts = np.arange(windows)
    logits = score_clip(loaded, mouths, starts, sound, PROTOCOL_RADIUS)
    shifts = np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
    inside = (starts[:, None] + shifts >= 0) & (starts[:, None] + shifts < windows)
    logits_inside = np.where(inside, logits, np.nan)
    whole = estimate(Scores(0, starts / FRAME_RATE, shifts, logits), calibration)
    return ClipResult(
        id=store.clips[index].id,
        windows=windows,
        published=tuple(float(protocol_hits(logits_inside, k).mean()) for k in FRAMES_K),
        existing=tuple(float(existing_hits(logits_inside, k).mean()) for k in FRAMES_K),
        offset_ms=whole.offset_ms,
        probability=whole.probability,
        seconds=len(sound.samples) / SAMPLE_RATE,
    )


def summarise(results: Sequence[ClipResult], true_ms: float = 0.0) -> dict[str, Any]:
    """Means over clips in percent, with 95 % intervals by bootstrap over clips."""
    tables = {
        "window_accuracy": np.array([r.published for r in results]),
        "window_accuracy_existing": np.array([r.existing for r in results]),
    }
    right = np.array([r.offset_ms is not None and abs(r.offset_ms - true_ms) <= FRAME_MS for r in results])
    errors = np.array([abs(r.offset_ms - true_ms) for r in results if r.offset_ms is not None])
    return {
        "clips": len(results),
        **{
            name: {str(k): _interval(hits[:, i]) for i, k in enumerate(FRAMES_K)}
            for name, hits in tables.items()
        },
        "whole_clip_accuracy": _interval(right.astype(float)),
        "median_error_ms": round(float(np.median(errors)), 1) if len(errors) else None,
    }


def _interval(values: npt.NDArray[np.float64]) -> list[float]:
    """[mean, low, high] in percent."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLINGS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return [round(100 * float(v), 2) for v in (values.mean(), low, high)]
