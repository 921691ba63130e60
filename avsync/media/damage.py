"""Stretches of a stream that are missing or cannot be decoded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avsync.core.records import Span

LEAST_S = 0.06
"""Seconds; a shorter gap is one lost frame, which changes no answer."""
PAUSE = 2.0
"""Files of variable frame rate have pauses anyway: a gap is longer than those by this factor."""
MISSING_S = 0.5
"""After this many seconds without a new frame the lips show nothing, even in an undamaged file."""

Times = npt.NDArray[np.float64]


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
