"""Measure recordings of unknown synchrony with an existing model, so that they can be trained on.

All clips of a speaker are assumed to share one offset, as if cut from one recording. Clips that do not show
it (someone listening, a voice-over) are left out, and so is a speaker whose clips show no common offset.
Clips whose recording is known are grouped by that instead. Words cut from many broadcasts share a speaker but
no offset; `one_by_one` measures each of those clips alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from avsync.core.constants import FRAME_MS, FRAME_RATE, PROTOCOL_RADIUS, WINDOW_FRAMES
from avsync.core.records import Clip, Scores, Waveform
from avsync.core.report import Offset
from avsync.data.labels import Recorded, delay_of
from avsync.data.shards import Store
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import FLAT_EVIDENCE, combine, estimate
from avsync.networks.checkpoint import Loaded
from avsync.networks.scoring import score_clip

RADIUS = 25
"""Frames searched in either direction."""
AGREE_MS = 2 * FRAME_MS
"""A clip belongs to its recording when its own offset is this close to the common one."""
OWN_EVIDENCE = FLAT_EVIDENCE / 2
LIKELY = 0.5
"""Least probability at which a clip's own offset is believed,"""
NEAR_MS = 3 * FRAME_MS
"""if it is within this of what is known of its speaker."""


@dataclass(frozen=True)
class Recording:
    """The clips of one recording: their common offset in ms (positive: the audio is early; None: none was
    found), its evidence, and the ids of those of its `clips` clips that show it."""

    name: str
    clips: int
    offset_ms: float | None
    evidence: float
    agreeing: tuple[str, ...]


def realign(
    loaded: Loaded,
    store: Store,
    recorded: Mapping[str, Recorded] = MappingProxyType({}),
    *,
    stride: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Every recording of `store`, by name; a clip that is not in `recorded` is grouped by its speaker."""
    calibration = Calibration.from_dict(loaded.calibration)
    recordings: dict[str, list[tuple[str, Scores]]] = {}
    for index, clip in enumerate(store.clips):
        if scores := _scores(loaded, store, index, stride, RADIUS):
            known = recorded.get(clip.id)
            name = known.recording if known else clip.id.split("/")[0]
            recordings.setdefault(name, []).append((clip.id, scores))
        if progress:
            progress(index + 1, len(store.clips))
    return [judge_recording(name, clips, calibration) for name, clips in sorted(recordings.items())]


def one_by_one(loaded: Loaded, store: Store, about: Mapping[str, float]) -> dict[str, float]:
    """Clip id -> ms by which its audio must be delayed, each measured alone; `about`: what is known so far,
    by id or prefix. Clips whose offset is uncertain are left out."""
    calibration = Calibration.from_dict(loaded.calibration)
    found = {}
    for index, clip in enumerate(store.clips):
        if scores := _scores(loaded, store, index, 1, PROTOCOL_RADIUS):
            own = own_ms(estimate(scores, calibration), delay_of(clip, about) or 0.0)
            found |= {} if own is None else {clip.id: own}
    return found


def own_ms(offset: Offset, usual_ms: float) -> float | None:
    """A clip's own offset in ms if it is likely and close to the usual one, else None."""
    if offset.offset_ms is None or offset.probability < LIKELY:
        return None
    return round(offset.offset_ms, 1) if abs(offset.offset_ms - usual_ms) <= NEAR_MS else None


def _scores(loaded: Loaded, store: Store, index: int, stride: int, radius: int) -> Scores | None:
    mouths = store.mouths(index)
    starts = np.arange(0, len(mouths) - WINDOW_FRAMES + 1, stride)
    if not len(starts):
        return None
    audio = Waveform(store.samples(index), 0.0)
    logits = score_clip(loaded, Clip(0, 0.0, mouths), starts, audio, radius)
    return Scores(0, starts / FRAME_RATE, np.arange(-radius, radius + 1), logits)


def judge_recording(name: str, clips: Sequence[tuple[str, Scores]], calibration: Calibration) -> Recording:
    """The common offset of a recording's clips, estimated twice: from all, then from those that agree with
    it."""
    own = [estimate(scores, calibration) for _, scores in clips]
    common = _pooled([scores for _, scores in clips], calibration)
    agreeing = [i for i, offset in enumerate(own) if _agrees(offset, common)]
    if not agreeing:
        return Recording(name, len(clips), None, common.evidence, ())
    common = _pooled([clips[i][1] for i in agreeing], calibration)
    found = common.evidence >= FLAT_EVIDENCE and not common.at_edge
    return Recording(
        name,
        len(clips),
        common.offset_ms if found else None,
        common.evidence,
        tuple(clips[i][0] for i in agreeing) if found else (),
    )


def _pooled(scores: Sequence[Scores], calibration: Calibration) -> Offset:
    """One offset for all clips, as if they followed one another."""
    ends = np.cumsum([0.0] + [s.times_s[-1] + 1.0 for s in scores])
    placed = [
        Scores(0, s.times_s + end, s.shifts, s.logits) for s, end in zip(scores, ends[:-1], strict=True)
    ]
    return estimate(combine(placed), calibration)


def _agrees(offset: Offset, common: Offset) -> bool:
    if offset.offset_ms is None or common.offset_ms is None:
        return False
    return abs(offset.offset_ms - common.offset_ms) <= AGREE_MS and offset.evidence >= OWN_EVIDENCE


def delays_ms(
    recordings: Sequence[Recording], possible_ms: tuple[float, float] = (-math.inf, math.inf)
) -> dict[str, float]:
    """Clip id -> ms by which its audio must be delayed to be in sync.

    `possible_ms`: recordings with an offset outside this range are left out as mistakes.
    """
    low, high = possible_ms
    return {
        clip: round(r.offset_ms, 1)
        for r in recordings
        if r.offset_ms is not None and low <= r.offset_ms <= high
        for clip in r.agreeing
    }
