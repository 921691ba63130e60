"""Runs of true values in a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, past) of each run of true values in a mask (n,), in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(first), int(past)) for first, past in zip(edges[::2], edges[1::2], strict=True)]
