"""Audio on the clock of its samples: timestamps say where it begins, and where it is interrupted."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

SLIP_S = 0.004
"""Timestamps that differ from the sample count by less are rounding: containers count milliseconds or ticks
of 90 kHz, and encoders are a few of them off."""
LOOK_S = 0.5
"""Seconds for which timestamps must differ to be believed: single ones are wrong, as where fragments of one
frame each have the time of the next."""
EDGE_S = 1e-4
"""Seconds by which times of one instant may differ by rounding."""

T = TypeVar("T")


def steady(
    frames: Iterable[tuple[float, float, T]], begins_s: Sequence[float] = ()
) -> Iterator[tuple[float, T]]:
    """(time_s, item) of each (time_s, length_s, item): exactly where the one before it ends, except after a
    gap or an overlap that lasts. At each of the times `begins_s` the timestamps are believed at once."""
    source = iter(frames)
    coming: deque[tuple[float, float, T]] = deque()
    end_s, piece = 0.0, -1
    while coming or _pull(source, coming):
        time_s, length_s, item = coming.popleft()
        here = bisect_right(begins_s, time_s + EDGE_S)
        if here != piece:
            end_s, piece = time_s, here
        elif abs(time_s - end_s) > SLIP_S:
            end_s += _slip(time_s - end_s, end_s + length_s, source, coming)
        yield end_s, item
        end_s += length_s


def _slip(
    now_s: float,
    end_s: float,
    source: Iterator[tuple[float, float, T]],
    coming: deque[tuple[float, float, T]],
) -> float:
    """The least by which the timestamps are off from this frame on, which is off by `now_s` and should end at
    `end_s`; 0 where one within LOOK_S is right, or off the other way, or none comes."""
    until_s, ahead = end_s + LOOK_S, 0
    least_s = now_s
    while end_s < until_s and (ahead < len(coming) or _pull(source, coming)):
        time_s, length_s, _ = coming[ahead]
        off_s = time_s - end_s
        if abs(off_s) <= SLIP_S or off_s * now_s < 0:
            return 0.0
        least_s = min(least_s, off_s, key=abs)
        end_s += length_s
        ahead += 1
    return least_s if ahead else 0.0


def _pull(source: Iterator[tuple[float, float, T]], coming: deque[tuple[float, float, T]]) -> bool:
    """Whether there was one more."""
    before = len(coming)
    coming.extend(item for item in (next(source, None),) if item is not None)
    return len(coming) > before
