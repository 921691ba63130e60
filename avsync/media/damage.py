"""Which stretches of a stream cannot be decoded, as in a file whose middle is corrupt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avsync.core.records import Span

LEAST_S = 0.06
"""Seconds; a shorter gap is one lost frame, which changes no answer."""
PAUSE = 2.0
"""Files of varying frame rate pause by themselves: a gap is longer than their usual one by this factor."""

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
