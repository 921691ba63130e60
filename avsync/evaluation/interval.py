"""How well a share of excerpts is known, of which one speaker's are answered alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DRAWS, Z = 2000, 1.96
"""Of the 95 % interval: how often the speakers are drawn, and standard errors on either side."""


def share_interval(flags: npt.NDArray[np.bool_], speakers: npt.NDArray[np.str_]) -> tuple[float, float]:
    """95 % interval of the share of `flags` (n,), given the speaker of each: by drawing speakers, since the
    excerpts of one are answered alike, and at least that of so many independent excerpts (Wilson's), since
    none in a hundred does not mean never. Raises ValueError without flags."""
    if not len(flags):
        raise ValueError("of nothing there is no share")
    names, of = np.unique(speakers, return_inverse=True)
    hits, counts = np.bincount(of, flags), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(names), (DRAWS, len(names)))
    low, high = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), (2.5, 97.5))
    share, more = float(np.mean(flags)), Z**2 / len(flags)
    half = Z * np.sqrt(share * (1 - share) / len(flags) + more / (4 * len(flags)))
    alone = (share + more / 2 + half * np.array([-1, 1])) / (1 + more)
    return max(0.0, float(min(low, alone[0]))), min(1.0, float(max(high, alone[1])))
