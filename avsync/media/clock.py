"""The clock of a container whose timestamps start over or jump: runs of timestamps, laid end to end.

Recordings joined byte by byte, discontinuities of HLS and splices make the timestamps of a file start over;
a broken one may leap by hours. Each run of timestamps is a piece. Timestamps relate video and audio
within a piece only, so both share one shift, and the pieces follow one another on the presentation timeline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from avsync.core.streams import Piece

BACK_S = 0.5
"""Seconds by which timestamps of one stream may go back without starting over; muxers err by a few frames."""
FORWARD_S = 60.0
"""A gap of this many seconds in all streams begins a new piece."""
FORWARD_TS_S = 10.0
"""FORWARD_S for MPEG streams, whose clock may jump."""
LEAP_S = 1.0
"""A timestamp that leaps ahead by this many seconds may be wrong."""
FEW, FEW_AT_ENDS = 8, 2
"""Packets in a row whose timestamps may be wrong rather than begin a piece of their own."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stamp:
    """What is known about a packet before it is decoded, in the container's own seconds. `time_s` grows from
    packet to packet of a stream (decoding order); the packet is presented in [first_s, past_s)."""

    stream: int
    time_s: float
    first_s: float
    past_s: float
    past_byte: int = 0
    """File position at which the packet ends; 0 where its container does not record it."""


@dataclass
class Run:
    """Timestamps that relate to one another: those of its packets lie in [low_s, high_s], and they are
    presented in [first_s, past_s). `ends`: the latest time by stream."""

    low_s: float
    high_s: float
    first_s: float
    past_s: float
    ends: dict[int, float] = field(default_factory=dict)


class Runs:
    """Assigns packets, in the order of the file, to runs of timestamps."""

    def __init__(self, forward_s: float = FORWARD_S) -> None:
        self.runs: list[Run] = []
        self._forward_s = forward_s
        self._now: dict[int, int] = {}

    def place(self, stamp: Stamp) -> int:
        """The number of the packet's run."""
        number = self._find(stamp)
        run = self.runs[number]
        self._now[stamp.stream] = number
        run.ends[stamp.stream] = max(run.ends.get(stamp.stream, -1e300), stamp.time_s)
        run.low_s, run.high_s = min(run.low_s, stamp.time_s), max(run.high_s, stamp.time_s)
        run.first_s, run.past_s = min(run.first_s, stamp.first_s), max(run.past_s, stamp.past_s)
        return number

    def _find(self, stamp: Stamp) -> int:
        now = self._now.get(stamp.stream)
        if now is not None and self._continues(now, stamp):
            return now
        for later in range(0 if now is None else now + 1, len(self.runs)):
            if stamp.stream not in self.runs[later].ends and self._near(later, stamp):
                return later
        self.runs.append(Run(stamp.time_s, stamp.time_s, stamp.first_s, stamp.past_s))
        return len(self.runs) - 1

    def _continues(self, number: int, stamp: Stamp) -> bool:
        step = stamp.time_s - self.runs[number].ends[stamp.stream]
        return step > -BACK_S and (step < self._forward_s or self._near(number, stamp))

    def _near(self, number: int, stamp: Stamp) -> bool:
        run = self.runs[number]
        return run.low_s - self._forward_s < stamp.time_s < run.high_s + self._forward_s


def seconds(stamp: int, unit: Fraction) -> float:
    """A timestamp in seconds, the same number as `float(stamp * unit)` in a tenth of the time: there are five
    for each frame of video and of audio."""
    return stamp * unit.numerator / unit.denominator


def pieces(runs: Runs, origin_s: float) -> tuple[Piece, ...]:
    """The runs laid end to end on the presentation timeline, the first with `origin_s` at second 0."""
    made: list[Piece] = []
    end_s = 0.0
    for run in runs.runs:
        shift_s = end_s - run.first_s if made else -origin_s
        made.append(Piece(run.first_s, run.past_s, shift_s))
        end_s = max(end_s, made[-1].end_s)
    return tuple(made)


def wild(times_s: Times, forward_s: float = FORWARD_S) -> list[int]:
    """Which of a stream's presentation times (n,), in the order of the file, are wrong: up to FEW in a row
    that leap away from those around them, which go on as if they were not there; or, at either end of the
    stream, up to FEW_AT_ENDS before or after a break."""
    steps = np.diff(times_s)
    leaps = 1 + np.flatnonzero((steps <= -BACK_S) | (steps >= LEAP_S))
    found: list[int] = []
    for i, leap in enumerate(leaps):
        if found and leap <= found[-1] + 1:
            continue
        before_s = times_s[leap - 1]
        for back in leaps[i + 1 :]:
            if back > leap + FEW:
                break
            if -BACK_S < times_s[back] - before_s < LEAP_S:
                found += range(leap, back)
                break
    others = np.setdiff1d(np.arange(len(times_s)), found)
    return sorted([*found, *others[_at_ends(times_s[others], forward_s)].tolist()])


def _at_ends(times_s: Times, forward_s: float) -> slice:
    """Those of the first and the last that are a run of timestamps of their own."""
    count = len(times_s)
    steps = np.diff(times_s)
    breaks = 1 + np.flatnonzero((steps <= -BACK_S) | (steps >= forward_s))
    if len(breaks) != 1 or count <= 4 * FEW_AT_ENDS:
        return slice(0)
    if breaks[0] <= FEW_AT_ENDS:
        return slice(breaks[0])
    return slice(breaks[0], count) if breaks[0] >= count - FEW_AT_ENDS else slice(0)


def forward_s(container: str) -> float:
    """FORWARD_S for a container of that name."""
    return FORWARD_TS_S if container in ("mpegts", "mpeg") else FORWARD_S
