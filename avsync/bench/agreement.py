"""How well a model's answers for clips of one recording agree, which needs no ground truth.

Clips cut from one recording share its offset, whatever that is, so an answer far from the others is wrong,
because of the model or of the clip (someone listening, a voice-over). A recording that drifts has no one
offset: a clip in which the offset changes is answered, and compared with none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from avsync.bench.clip_result import ClipResult
from avsync.core.constants import FRAME_MS
from avsync.data.labels import Recorded

LENGTHS_S = (1, 2, 4, 10, math.inf)
"""Clips are grouped by length: 1 to 2 s, 2 to 4 s and so on."""


def agreement(results: Sequence[ClipResult], recorded: Mapping[str, Recorded]) -> dict[str, Any]:
    """The figures of `summarise` for all clips of known recordings, "by_length" and "by_language" (None: no
    language is known)."""
    known = [r for r in results if r.id in recorded]
    middles = recording_medians_ms(known, recorded)

    def rows(label: Callable[[ClipResult], str]) -> dict[str, Any]:
        groups: dict[str, list[ClipResult]] = {}
        for result in known:
            groups.setdefault(label(result), []).append(result)
        return {name: summarise(groups[name], recorded, middles) for name in sorted(groups)}

    by_length = rows(lambda r: length_label(r.seconds))
    spoken = any(recorded[r.id].language for r in known)
    return {
        "all": summarise(known, recorded, middles),
        "by_length": {name: by_length[name] for name in length_labels() if name in by_length},
        "by_language": rows(lambda r: recorded[r.id].language or "unknown") if spoken else None,
    }


def recording_medians_ms(results: Sequence[ClipResult], recorded: Mapping[str, Recorded]) -> dict[str, float]:
    """Recording -> median offset in ms of its answered clips that have one offset, if there are at least two,
    since a single clip agrees with itself."""
    offsets: dict[str, list[float]] = {}
    for r in results:
        if (offset_ms := r.one_offset_ms) is not None:
            offsets.setdefault(recorded[r.id].recording, []).append(offset_ms)
    return {name: float(np.median(found)) for name, found in offsets.items() if len(found) > 1}


def summarise(
    results: Sequence[ClipResult], recorded: Mapping[str, Recorded], medians_ms: Mapping[str, float]
) -> dict[str, Any]:
    """Counts, and shares in percent. `answered`: of all clips; in `changing` of them the offset changes. The
    others of recordings with at least two are `compared`; `agreeing`: the share of them within 40 ms of their
    recording's median (None: none is compared). `spread_ms` is the median distance from it."""
    apart = [
        abs(offset_ms - medians_ms[recorded[r.id].recording])
        for r in results
        if (offset_ms := r.one_offset_ms) is not None and recorded[r.id].recording in medians_ms
    ]
    return {
        "clips": len(results),
        "recordings": len({recorded[r.id].recording for r in results}),
        "answered": round(100 * float(np.mean([r.answered for r in results])), 1) if results else None,
        "changing": sum(r.answered and r.changing for r in results),
        "compared": len(apart),
        "agreeing": round(100 * float(np.mean(np.array(apart) <= FRAME_MS)), 1) if apart else None,
        "spread_ms": round(float(np.median(apart)), 1) if apart else None,
    }


def length_label(seconds: float) -> str:
    """The one of `length_labels` that a clip belongs to; shorter clips belong to the first."""
    above = sum(seconds >= low for low in LENGTHS_S[1:-1])
    return length_labels()[above]


def length_labels() -> list[str]:
    """ "1-2 s", "2-4 s", ..."""
    return [
        f"{low} s or more" if math.isinf(high) else f"{low}-{high} s" for low, high in pairwise(LENGTHS_S)
    ]
