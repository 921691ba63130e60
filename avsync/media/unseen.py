"""Frames that nobody sees, and to which no other frame refers, need not be decoded: of 30 frames a second
five lie between the times of the grid, of 50 every second one."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Unseen = Callable[[float, float, float], bool]
"""unseen(before_s, time_s, after_s): whether a frame at `time_s` is never shown, given the times of those
before and after it in order of presentation."""

CODECS = ("h264", "hevc", "mpeg2video", "mpeg4")
"""Those whose decoders leave out exactly the frames to which no other refers."""
REORDERED = 16
"""Packets by which frames of these codecs may be stored earlier than they are shown."""
KEPT = 4 * REORDERED
"""Times that are remembered."""


def spared(
    packets: Iterable[T], time_of: Callable[[T], float | None], unseen: Unseen
) -> Iterator[tuple[T, bool]]:
    """Each packet, REORDERED of them late, with whether its frame is never shown. `time_of` says when it is
    shown; infinity: never, nor is it one that others lie beside. From the first of which that is not known
    (None), all are taken for shown, and so are the last ones."""
    held: deque[T] = deque()
    times: list[float] = []
    whole = True
    for packet in packets:
        held.append(packet)
        time_s = time_of(packet)
        whole = whole and time_s is not None
        if time_s is not None and time_s < math.inf:
            insort(times, time_s)
        if len(held) > REORDERED:
            yield (now := held.popleft()), whole and _between(times, time_of(now), unseen)
            del times[:-KEPT]
    for packet in held:
        yield packet, False


def _between(times: list[float], time_s: float | None, unseen: Unseen) -> bool:
    """Whether the frame at `time_s` is never shown, `times` being those of all around it, in order."""
    if time_s is None or time_s == math.inf:
        return False
    at = bisect_left(times, time_s)
    if at == 0 or at + 1 >= len(times) or times[at + 1] == time_s:
        return False
    return unseen(times[at - 1], time_s, times[at + 1])
