"""The clock of a container whose timestamps start over or jump: runs of timestamps, laid end to end.

Recordings joined byte by byte, discontinuities of HLS and splices make the timestamps of a file start over;
a broken one may leap by hours. Each run of timestamps is a piece. Timestamps relate video and audio
within a piece only, so both share one shift, and the pieces follow one another on the presentation timeline.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avsync.core.streams import Piece

BACK_S = 0.5
"""Seconds by which timestamps of one stream may go back without starting over; muxers err by a few frames."""
FORWARD_S = 60.0
"""A gap of this many seconds in all streams begins a new piece."""
FORWARD_TS_S = 10.0
"""FORWARD_S for MPEG streams, whose clock may jump."""


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
    presented in [first_s, past_s). `stray`: it was one wild timestamp; `ends`: the latest time by stream."""

    low_s: float
    high_s: float
    first_s: float
    past_s: float
    stray: bool = False
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
        # A single wild timestamp: the stream goes on where it was.
        if now is not None:
            for earlier in range(now - 1, -1, -1):
                run = self.runs[earlier]
                if stamp.stream in run.ends and self._continues(earlier, stamp, strictly=True):
                    self.runs[now].stray = True
                    return earlier
        for later in range(0 if now is None else now + 1, len(self.runs)):
            if stamp.stream not in self.runs[later].ends and self._near(later, stamp):
                return later
        self.runs.append(Run(stamp.time_s, stamp.time_s, stamp.first_s, stamp.past_s))
        return len(self.runs) - 1

    def _continues(self, number: int, stamp: Stamp, *, strictly: bool = False) -> bool:
        run = self.runs[number]
        step = stamp.time_s - run.ends[stamp.stream]
        if strictly:
            return 0 < step < 1.0
        return step > -BACK_S and (step < self._forward_s or self._near(number, stamp))

    def _near(self, number: int, stamp: Stamp) -> bool:
        run = self.runs[number]
        return run.low_s - self._forward_s < stamp.time_s < run.high_s + self._forward_s


def pieces(runs: Runs, origin_s: float) -> tuple[Piece, ...]:
    """The runs laid end to end on the presentation timeline, the first with `origin_s` at second 0."""
    made: list[Piece] = []
    end_s = 0.0
    for run in runs.runs:
        shift_s = end_s - run.first_s if made else -origin_s
        piece = Piece(run.first_s, run.past_s, shift_s, run.stray)
        made.append(piece)
        if not run.stray:
            end_s = max(end_s, piece.end_s)
    return tuple(made)


def forward_s(container: str) -> float:
    """FORWARD_S for a container of that name."""
    return FORWARD_TS_S if container in ("mpegts", "mpeg") else FORWARD_S
