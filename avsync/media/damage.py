"""Stretches of a stream that are missing or cannot be decoded."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from avsync.core.records import Gap, Span

LEAST_S = 0.06
"""Seconds; a shorter gap is one lost frame, which changes no answer."""
PAUSE = 2.0
"""Files of variable frame rate have pauses anyway: a gap is longer than those by this factor."""
MISSING_S = 0.5
"""After this many seconds without a new frame the lips show nothing, even in an undamaged file."""

Times = npt.NDArray[np.float64]


@dataclass
class Damage:
    """What went wrong while a stream was decoded: `errors` as messages, and when intact frames came out.
    `holes` are those of the media."""

    holes: tuple[Span, ...] = ()
    errors: list[str] = field(default_factory=list)
    starts: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))
    last_s: float = -math.inf
    """End of the last packet that was read."""

    def spans(self, start_s: float | None = None, end_s: float | None = None) -> list[Span]:
        """The stretches in [start_s, end_s) in which no frame came out whole, in order; without an error
        only those in which the file has nothing at all. The time before the first frame is not a gap: a
        recording may begin in the middle of a group of frames."""
        low, high = (-math.inf if start_s is None else start_s), (math.inf if end_s is None else end_s)
        starts, ends = np.array(self.starts), np.array(self.ends)
        found = gaps(starts, ends, min(self.last_s, high))
        if not self.errors:
            found = [(a, b) for a, b in found if any(a < past and first < b for first, past in self.holes)]
        return [(max(a, low), min(b, high)) for a, b in found if b > low and a < high]

    def gaps(self, start_s: float | None = None, end_s: float | None = None) -> list[Gap]:
        """`spans`, and the stretches in [start_s, end_s) for which the file has no frames."""
        low, high = (-math.inf if start_s is None else start_s), (math.inf if end_s is None else end_s)
        found = [Gap(first_s, past_s, damaged=True) for first_s, past_s in self.spans(start_s, end_s)]
        for first_s, past_s in pauses(np.array(self.starts)):
            if (
                past_s > low
                and first_s < high
                and not any(g.start_s < past_s and first_s < g.end_s for g in found)
            ):
                found.append(Gap(max(first_s, low), min(past_s, high), damaged=False))
        return sorted(found, key=lambda gap: gap.start_s)


def gaps(starts: Times, ends: Times, last_s: float) -> list[Span]:
    """The stretches between frames that last from `starts` to `ends` (n,), and after them until `last_s`,
    that are longer than usual there."""
    if not len(starts):
        return []
    ends = np.maximum.accumulate(ends)
    pauses = np.append(starts[1:], last_s) - ends
    long = pauses > max(LEAST_S, PAUSE * float(np.percentile(pauses, 95)))
    return [(float(end), float(end + pause)) for end, pause in zip(ends[long], pauses[long], strict=True)]


def pauses(starts: Times) -> list[Span]:
    """The stretches of MISSING_S or more, longer than usual, between the frames that are shown from `starts`
    (n,) on, after the time that each is usually shown. How long the file says that a frame lasts does not
    count: some containers let the last one before a break last until the next."""
    if len(starts) < 2:
        return []
    steps = np.diff(np.sort(starts))
    usual = float(np.median(steps))
    long = np.flatnonzero(steps - usual >= max(MISSING_S, PAUSE * float(np.percentile(steps, 95))))
    first = np.sort(starts)
    return [(float(first[i]) + usual, float(first[i + 1])) for i in long]
