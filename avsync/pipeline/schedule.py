"""Which stretches of a video to look at, and in what order. Pure, in seconds of the video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from avsync.core.records import Span
from avsync.core.report import Report

CHUNK_S = 300.0
"""A long video that is looked at in full comes in stretches of this length, so that stopping early leaves an
answer, and memory does not grow with the video."""
SAMPLE_S = 20.0
"""Length of a stretch that is looked at on its own; a talking face in it gives about fifty observations."""
ROUNDS = ((2,), (5,), (0, 3), (1, 4))
"""Of every six stretches, those that are looked at in the first, second ... round: a sixth of the video, a
third, two thirds, all of it."""
SHORT_S = 6 * SAMPLE_S * 5
"""Up to this length the first round would hold too few stretches to spare anything."""
CERTAIN = 0.85
"""At or above this probability no more is looked at."""


def rounds(span: Span, *, adaptive: bool) -> Iterator[list[Span]]:
    """Lists of stretches, each list in order of time, that together are the whole of `span` once.

    Where not all is to be looked at, an answer is worth trying after each list.
    """
    duration_s = span[1] - span[0]
    if not adaptive or duration_s <= SHORT_S:
        yield cut(span, CHUNK_S) if duration_s > 2 * CHUNK_S else [span]
        return
    stretches = cut(span, SAMPLE_S)
    ends = (0, len(stretches) - 1)
    for number, chosen in enumerate(ROUNDS):
        yield [
            stretch
            for i, stretch in enumerate(stretches)
            if (i in ends and number == 0) or (i not in ends and i % 6 in chosen)
        ]


def cut(span: Span, length_s: float) -> list[Span]:
    """Stretches of equal length, at most `length_s`, that together are the whole."""
    start_s, duration_s = span[0], span[1] - span[0]
    count = max(1, math.ceil(duration_s / length_s))
    edges = [start_s + duration_s * i / count for i in range(count)] + [span[1]]
    return list(pairwise(edges))


def certain(report: Report) -> bool:
    """Whether looking at more would hardly change the answer."""
    if report.verdict not in ("in-sync", "out-of-sync") or report.probability < CERTAIN:
        return False
    if report.offset_ms is None or report.uncertainty_ms is None:
        return False
    if any(stretch.hint_ms is not None for stretch in report.unjudged):
        return False
    early, late = report.tolerance_ms
    return min(abs(report.offset_ms - early), abs(report.offset_ms + late)) > report.uncertainty_ms


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same stretches in order of time, those that touch as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + 1e-6:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def total(spans: Sequence[Span]) -> float:
    """Seconds that stretches hold together, which do not overlap."""
    return sum(end - start for start, end in spans)


def longest_gap(spans: Sequence[Span], whole: Span) -> float:
    """The longest stretch of `whole` in seconds that none of `spans` (merged, inside it) holds."""
    edges = [whole[0], *(edge for span in spans for edge in span), whole[1]]
    return max(after - before for before, after in zip(edges[::2], edges[1::2], strict=True))
