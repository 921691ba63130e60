"""The grid of 25 frames a second on which video is read, and where it begins anew.

The frame shown at each time of the grid is the nearest of the file. Where a recording goes on between two of
those times, all that follows would be up to half a frame early or late. So a piece has a grid of its own, and
so has what goes on out of step, as after a recording whose audio was longer than its video.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from avsync.core.constants import FRAME_RATE, FRAME_S
from avsync.media.clock import Times

ROUNDED_S = 0.002
"""By how many seconds timestamps may be off the grid: most containers count milliseconds or finer."""
STEADY_S = 1.0
"""What is out of step by the same time for this long goes on like that."""
EPSILON_S = 1e-6


def anchors(times_s: Times, fps: Fraction) -> list[float]:
    """The times at which a grid begins anew, of frames presented at `times_s` (n,), which ascend; the first
    frame is the first of them. Frames whose own rate is none of 25 a second are in no step."""
    step_s = FRAME_S / max(1, round(fps / FRAME_RATE))
    found = [float(times_s[0])]
    edges = [0, *(1 + np.flatnonzero(np.abs(_off(np.diff(times_s), step_s)) > ROUNDED_S)), len(times_s)]
    for first, past in pairwise(edges):
        if times_s[past - 1] - times_s[first] < STEADY_S:
            continue
        within = _off(times_s[first:past] - times_s[first], step_s)
        apart_s = times_s[first] + np.median(within) - found[-1]
        if np.abs(within).max() <= ROUNDED_S < abs(_off(apart_s, step_s)):
            found.append(float(times_s[first]))
    return found


def _off(times_s: Any, step_s: float) -> Any:
    """By how much each time lies after the nearest multiple of a step, in seconds."""
    return times_s - step_s * np.round(times_s / step_s)


def grid(anchors_s: Sequence[float], start_s: float | None, end_s: float | None) -> Iterator[float]:
    """The times of the grids that begin at `anchors_s` in [start_s, end_s), the last of them without an end;
    none less than half a frame before the next begins."""
    for number, anchor_s in enumerate(anchors_s):
        last = number + 1 == len(anchors_s)
        past_s = math.inf if last else anchors_s[number + 1] - FRAME_S / 2
        past_s = past_s if end_s is None else min(past_s, end_s)
        index = 0 if start_s is None else max(0, math.ceil((start_s - anchor_s) * FRAME_RATE - EPSILON_S))
        while (time_s := anchor_s + index / FRAME_RATE) < past_s - EPSILON_S:
            yield time_s
            index += 1
