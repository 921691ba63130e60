"""The published evaluation, and whole-clip accuracy, on prepared clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from avsync.bench.agreement import agreement
from avsync.bench.clip_result import ClipResult, changes
from avsync.bench.corruptions import NONE, Corruption
from avsync.core.constants import (
    FRAME_RATE,
    PROTOCOL_RADIUS,
    SAMPLE_RATE,
    WINDOW_FRAMES,
)
from avsync.core.records import Clip, Scores, Waveform
from avsync.core.report import FaceDistance
from avsync.data.cut import face_frames
from avsync.data.labels import Recorded, delay_of, entry_of
from avsync.data.loading import reader
from avsync.data.pairs import validation_pairs
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import estimate
from avsync.evaluation.protocol import FRAMES_K, LONG_S, TOLERATED_FRAMES, existing_hits, protocol_hits
from avsync.evaluation.validation import pair_scores
from avsync.networks.base import count_parameters
from avsync.networks.checkpoint import Loaded
from avsync.networks.scoring import audio_tokens, audio_windows, score_clip, visual_tokens
from avsync.networks.syncnet import face_distance

VALIDATION_SPLIT = "val"
RESAMPLINGS = 1000
PAIRS_A_CLIP = 8
"""Fixed pairs of each validation clip, half of them in sync, as in training."""
PAIRS_AT_ONCE = 64


def evaluate_model(
    loaded: Loaded,
    store: Store,
    validation: Store,
    progress: Callable[[int, int], None] | None = None,
    delays: Mapping[str, float] | None = None,
    groups: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    recorded: Mapping[str, Recorded] = MappingProxyType({}),
    corruptions: Sequence[Corruption] = (),
) -> dict[str, Any]:
    """A model's row: size, accuracy by the protocol, whole-clip accuracy, the same by source, F1 on
    `validation` (None if that is empty, or the model takes whole faces, which are not prepared, or a
    recogniser's features, which pairs have not), and the
    seconds that the evaluation took. "long_clips" are those of 3 s or more (None: there are none).

    `delays`: as in `evaluate_clips`. `groups`: name of a grouping -> clip id or prefix -> label; the rows by
    label are "by_group". `recorded`: clip id -> its recording, for the "agreement" within recordings (None:
    none is known). Each of `corruptions` is applied to all clips in turn; these rows are "corrupted".
    """
    by_pairs = loaded.model.crop == "mouth" and not loaded.model.hears_speech
    has_f1 = len(validation) > 0 and by_pairs
    begun = time.perf_counter()
    passes = 1 + len(corruptions)

    def part(number: int) -> Callable[[int, int], None]:
        """Progress of one pass over the clips, as part of all passes."""

        def tell(done: int, total: int) -> None:
            if progress:
                progress(number * total + done, passes * total)

        return tell

    results = evaluate_clips(loaded, store, part(0), delays)
    row = summarise(results)
    corrupted = {
        corruption.name: summarise(evaluate_clips(loaded, store, part(number), delays, corruption))
        for number, corruption in enumerate(corruptions, 1)
    }
    sources = sorted({r.source for r in results})
    long = [r for r in results if r.seconds >= LONG_S]
    return {
        "name": loaded.name,
        "checkpoint": str(loaded.path),
        "parameters": count_parameters(loaded.model),
        **row,
        "by_source": {name: summarise([r for r in results if r.source == name]) for name in sources},
        "long_clips": summarise(long) if long else None,
        "by_group": {name: by_label(results, labels) for name, labels in groups.items()},
        "agreement": agreement(results, recorded) if recorded else None,
        "corrupted": corrupted,
        "validation_f1": validation_f1(loaded, validation) if has_f1 else None,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def by_label(results: Sequence[ClipResult], labels: Mapping[str, str]) -> dict[str, Any]:
    """The summary of the clips of each label, in the order of the labels, without unlabelled clips."""
    named = [(entry_of(r.id, labels), r) for r in results]
    groups = {label: [r for name, r in named if name == label] for label in dict.fromkeys(labels.values())}
    return {label: summarise(found) for label, found in groups.items() if found}


def evaluate_clips(
    loaded: Loaded,
    store: Store,
    progress: Callable[[int, int], None] | None = None,
    delays: Mapping[str, float] | None = None,
    corruption: Corruption = NONE,
) -> list[ClipResult]:
    """Score every frame of each clip in `store` that has a window of the protocol, after `corruption`.
    `delays`: clip id or prefix -> ms by which the stored audio must be delayed to be in sync."""
    calibration = Calibration.from_dict(loaded.calibration)
    results = []
    for index, clip in enumerate(store.clips):
        windows = min(clip.frames, clip.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows > 0:
            delay_ms = delay_of(clip, delays or {}) or 0.0
            results.append(_clip(loaded, store, index, windows, calibration, delay_ms, corruption))
        if progress:
            progress(index + 1, len(store.clips))
    return results


def _clip(
    loaded: Loaded,
    store: Store,
    index: int,
    windows: int,
    calibration: Calibration,
    delay_ms: float,
    corruption: Corruption,
) -> ClipResult:
    whole = loaded.model.crop == "face"
    frames = face_frames(store.clips[index]) if whole else store.mouths(index)
    mouths = Clip(0, 0.0, corruption.frames(frames[: windows + WINDOW_FRAMES]), whole=True)
    samples = corruption.audio(store.samples(index))
    audio = Waveform(samples, delay_ms / 1000)
    starts = np.arange(windows)
    logits = score_clip(loaded, mouths, starts, audio, PROTOCOL_RADIUS)
    shifts = np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
    inside = (starts[:, None] + shifts >= 0) & (starts[:, None] + shifts < windows)
    logits_inside = np.where(inside, logits, np.nan)
    answer = estimate(Scores(0, starts / FRAME_RATE, shifts, logits), calibration)
    return ClipResult(
        id=store.clips[index].id,
        windows=windows,
        published=tuple(float(protocol_hits(logits_inside, k).mean()) for k in FRAMES_K),
        existing=tuple(float(existing_hits(logits_inside, k).mean()) for k in FRAMES_K),
        offset_ms=answer.offset_ms,
        probability=answer.probability,
        seconds=len(audio.samples) / SAMPLE_RATE,
        syncnet=_syncnet(loaded, mouths, starts, audio) if loaded.model.family == "syncnet" else None,
        changing=changes(answer),
    )


@torch.inference_mode()
def _syncnet(loaded: Loaded, clip: Clip, starts: npt.NDArray[np.int64], audio: Waveform) -> FaceDistance:
    """The offset by the mean distance over all windows, with silence beyond the clip's ends."""
    windows = audio_windows(clip, audio, 0, loaded.model.audio_input)
    video = visual_tokens(loaded, clip.mouths, starts).cpu().numpy()
    return face_distance(video, audio_tokens(loaded, windows[: len(starts)]).cpu().numpy())


def validation_f1(loaded: Loaded, store: Store) -> list[float]:
    """[F1, low, high] in percent for "in sync" at a logit above 0, on the pairs used to validate training;
    the 95 % interval is by bootstrap over clips."""
    pairs = validation_pairs(store.windows, PAIRS_A_CLIP)
    source = reader(store, loaded.device)
    logits = pair_scores(loaded, source, pairs, PAIRS_AT_ONCE, loaded.model.audio_input)
    return f1_with_interval(pairs.clips, logits > 0, pairs.labels == 1)


def f1_with_interval(
    clips: npt.NDArray[np.int64], said: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]
) -> list[float]:
    """[F1, low, high] in percent. `said` and `true` (n,): which pairs were called in sync, and which are; the
    95 % interval is by bootstrap over `clips` (n,), the clip of each pair."""
    counts = np.zeros((int(clips.max()) + 1, 2))
    np.add.at(counts, clips, np.column_stack([2 * (said & true), said.astype(int) + true]))

    def f1(chosen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return chosen[..., 0] / np.maximum(1, chosen[..., 1])

    low, high = np.quantile(f1(counts[_draws(len(counts))].sum(axis=1)), [0.025, 0.975])
    return [round(100 * float(v), 2) for v in (f1(counts.sum(axis=0)), low, high)]


def summarise(results: Sequence[ClipResult], true_ms: float = 0.0) -> dict[str, Any]:
    """Means over clips in percent, with 95 % intervals by bootstrap over clips. "answered_clips" are those
    for which `check` would give an offset, "wrong_clips" those of them where it is more than a frame off.

    Raises ValueError when there is no clip."""
    if not results:
        raise ValueError("no clip has a window to score")
    tables = {
        "window_accuracy": np.array([r.published for r in results]),
        "window_accuracy_existing": np.array([r.existing for r in results]),
    }
    right = np.array([r.right(true_ms) for r in results])
    errors = np.array([abs(r.offset_ms - true_ms) for r in results if r.offset_ms is not None])
    return {
        "clips": len(results),
        **{
            name: {str(k): _interval(hits[:, i]) for i, k in enumerate(FRAMES_K)}
            for name, hits in tables.items()
        },
        "whole_clip_accuracy": _interval(right.astype(float)),
        **_syncnet_summary([r.syncnet for r in results if r.syncnet is not None]),
        "median_error_ms": round(float(np.median(errors)), 1) if len(errors) else None,
        "answered_clips": sum(r.answered for r in results),
        "wrong_clips": sum(r.answered and not r.right(true_ms) for r in results),
    }


def _syncnet_summary(answers: Sequence[FaceDistance]) -> dict[str, Any]:
    """Share of clips whose offset by SyncNet's own evaluation is within a frame of the truth, and its
    confidence."""
    if not answers:
        return {}
    right = np.array([abs(answer.offset) <= TOLERATED_FRAMES for answer in answers], np.float64)
    confidence = round(float(np.median([answer.confidence for answer in answers])), 3)
    return {"syncnet_whole_clip_accuracy": _interval(right), "syncnet_median_confidence": confidence}


def _interval(values: npt.NDArray[np.float64]) -> list[float]:
    """[mean, low, high] in percent."""
    low, high = np.quantile(values[_draws(len(values))].mean(axis=1), [0.025, 0.975])
    return [round(100 * float(v), 2) for v in (values.mean(), low, high)]


def _draws(n: int) -> npt.NDArray[np.int64]:
    """Clip indices of every resampling, (RESAMPLINGS, n)."""
    return np.random.default_rng(0).integers(0, n, (RESAMPLINGS, n))
