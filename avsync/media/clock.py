"""The clock of a container whose timestamps start over or jump: runs of timestamps, laid end to end.

Recordings joined byte by byte, discontinuities of HLS and splices make the timestamps of a file start over;
a broken one may leap by hours. Each run of timestamps is a piece. Timestamps relate video and audio
within a piece only, so both share one shift, and the pieces follow one another on the presentation timeline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

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
"""Packets in a row whose timestamps may be wrong, whatever else there is, rather than begin a piece."""
FILLED_S = 0.1
"""Seconds by which a stream may go on earlier or later than after packets that last as long as they claim to.
The audio of a transport stream has one timestamp for many packets, which are wrong together."""
ENDS_S = 2.0
"""The longest end of a stream, in seconds, that may be wrong as a whole."""
NEAR_PACKETS, NEAR_S = 64, 2.0
"""Packets and seconds within which all streams of a recording begin."""
ROUNDED_S = 0.001
USUAL, MUCH = 90, 5.0
"""Percentile of the steps between the packets of a stream, forward or back, that is usual; reordered frames
make steps up to MUCH longer."""

Times = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Stamp:
    """What is known about a packet before it is decoded, in the container's own seconds. `time_s` grows from
    packet to packet of a stream (decoding order); the packet is presented in [first_s, past_s)."""

    stream: int
    time_s: float
    first_s: float
    past_s: float
    first_byte: int = 0
    past_byte: int = 0
    """File positions at which the packet begins and ends; 0 where its container does not record them."""


@dataclass
class Run:
    """Timestamps that relate to one another: those of its packets lie in [low_s, high_s], and they are
    presented in [first_s, past_s). `first_byte`: where the first of them in the file begins; `ends`: the
    latest time by stream."""

    low_s: float
    high_s: float
    first_s: float
    past_s: float
    first_byte: int = 0
    ends: dict[int, float] = field(default_factory=dict)


class Runs:
    """Assigns packets, in the order of the file, to runs of timestamps."""

    def __init__(self, forward_s: float = FORWARD_S) -> None:
        self.runs: list[Run] = []
        self._forward_s = forward_s
        self._now: dict[int, int] = {}

    def place(self, stamp: Stamp, *, leaves: bool = False) -> int:
        """The number of the packet's run; with `leaves` another one than that of the packet before it."""
        number = self._find(stamp, leaves)
        run = self.runs[number]
        self._now[stamp.stream] = number
        run.ends[stamp.stream] = max(run.ends.get(stamp.stream, -1e300), stamp.time_s)
        run.low_s, run.high_s = min(run.low_s, stamp.time_s), max(run.high_s, stamp.time_s)
        run.first_byte = min(run.first_byte or stamp.first_byte, stamp.first_byte or run.first_byte)
        run.first_s, run.past_s = min(run.first_s, stamp.first_s), max(run.past_s, stamp.past_s)
        return number

    def _find(self, stamp: Stamp, leaves: bool) -> int:
        now = self._now.get(stamp.stream)
        if now is not None and not leaves and self._continues(now, stamp):
            return now
        for later in range(0 if now is None else now + 1, len(self.runs)):
            if stamp.stream not in self.runs[later].ends and self._near(later, stamp):
                return later
        self.runs.append(Run(stamp.time_s, stamp.time_s, stamp.first_s, stamp.past_s, stamp.first_byte))
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


def pieces(runs: Sequence[Run], origin_s: float, wraps_s: float = math.inf) -> tuple[Piece, ...]:
    """The runs laid end to end on the presentation timeline, the first with `origin_s` at second 0;
    `wraps_s`: as in Piece."""
    made: list[Piece] = []
    end_s = 0.0
    for run in runs:
        shift_s = end_s - run.first_s if made else -origin_s
        made.append(Piece(run.first_s, run.past_s, shift_s, run.first_byte, wraps_s))
        end_s = max(end_s, made[-1].end_s)
    return tuple(made)


def wild(times_s: Times, streams: Numbers, forward_s: float = FORWARD_S) -> list[int]:
    """Which packets have wrong presentation times, of those at `times_s` (n,) in `streams` (n,), in the order
    of the file. They are those that leap away from where their stream goes on as if

    - they were not there, if they are FEW, or
    - they had lasted just as long as they claim to, if no other stream leaps along;

    or, at either end of a stream, those before or after a break, if they are FEW_AT_ENDS, or last no longer
    than ENDS_S and no other stream leaps along.
    """
    found: list[int] = []
    for stream in np.unique(streams):
        places = np.flatnonzero(streams == stream)
        others = np.flatnonzero(streams != stream)

        def alone(wrong: slice, right_s: float, places: Places = places, others: Places = others) -> bool:
            first, past = np.searchsorted(others, places[wrong][[0, -1]])
            beside_s = times_s[others[first:past]]
            middle_s = np.median(times_s[places[wrong]])
            along = np.abs(beside_s - middle_s) < np.abs(beside_s - right_s)
            return 2 * int(along.sum()) <= len(along)

        away = _away(times_s[places], alone)
        found += places[away].tolist()
        others_of_it = np.setdiff1d(np.arange(len(places)), away)
        ends = _at_ends(times_s[places[others_of_it]], others_of_it, forward_s, alone)
        found += places[ends].tolist()
    return sorted(found)


def early(times_s: Times, streams: Numbers, arrival_s: Times) -> list[int]:
    """Which packets, the first of their stream, have times that are too early: before a leap ahead which the
    clock reference does not make. That shows `arrival_s` (n,) where each lies in the file (NaN: before its
    beginning), and most packets of a stream lie about as long before they are presented. Those in one place
    have one timestamp."""
    found: list[int] = []
    for stream in np.unique(streams):
        places = np.flatnonzero(streams == stream)
        if np.isnan(arrival_s[places[0]]):
            continue
        begins = np.flatnonzero(np.diff(arrival_s[places], prepend=-np.inf))
        ahead_s = times_s[places[begins]] - arrival_s[places[begins]]
        first = int(np.argmax(ahead_s > np.median(ahead_s) - BACK_S))
        leaps = first and ahead_s[first] - ahead_s[first - 1] >= BACK_S
        if leaps and first <= FEW_AT_ENDS and 2 * first < len(begins):
            found += places[: begins[first]].tolist()
    return found


def lone(times_s: Times, streams: Numbers) -> list[int]:
    """Which packets, of those at `times_s` (n,) in `streams` (n,), are presented long before or after all
    others, FEW_AT_ENDS of each stream at most: without a clock reference nothing tells a wrong time from a
    pause, but nothing is lost with them. Of a single stream, they may be images that are shown for long."""
    if len(np.unique(streams)) < 2:
        return []
    order = np.argsort(times_s, kind="stable")
    steps_s = np.diff(times_s[order])
    leaps = np.flatnonzero(steps_s >= LEAP_S)
    found: list[int] = []
    for at, ends in [(at, order[: at + 1]) for at in leaps[:1]] + [
        (at, order[at + 1 :]) for at in leaps[-1:]
    ]:
        counts = {stream: int((streams[ends] == stream).sum()) for stream in np.unique(streams[ends])}
        usual_s = max(MUCH * _usual_s(times_s[streams == stream]) for stream in counts)
        if max(counts.values()) <= FEW_AT_ENDS and steps_s[at] >= usual_s:
            found += ends.tolist()
    return sorted(found)


def _usual_s(times_s: Times) -> float:
    """The length of a usual step between packets of a stream as presented; without end, where it has few."""
    steps = np.diff(np.sort(times_s))
    return float(np.percentile(steps, USUAL)) if len(steps) > 4 * FEW_AT_ENDS else math.inf


def leaving(times_s: Times, streams: Numbers) -> list[int]:
    """Which packets, of those at `times_s` (n,) in `streams` (n,), go over to another run of timestamps
    together with one of another stream that starts over, although their own times go on: the audio of a
    recording may end after the next one's clock begins, and its video before."""
    found = set[int]()
    places = {stream: np.flatnonzero(streams == stream) for stream in np.unique(streams)}
    for stream, own in places.items():
        for back in own[1 + np.flatnonzero(np.diff(times_s[own]) <= -BACK_S)]:
            for beside in (others for other, others in places.items() if other != stream):
                middle = int(np.searchsorted(beside, back))
                near = beside[max(0, middle - NEAR_PACKETS) : middle + NEAR_PACKETS]
                steps = np.diff(times_s[near])
                inside = np.abs(times_s[near[1:]] - times_s[back]) < NEAR_S
                if inside.any() and (steps > -BACK_S).all():
                    largest = steps[inside].max() - ROUNDED_S
                    likely = near[1:][inside & (steps >= largest)]
                    found.add(int(likely[np.argmin(np.abs(likely - back))]))
    return sorted(found)


def _away(times_s: Times, alone: Callable[[slice, float], bool]) -> list[int]:
    """Those of a stream that leap away and come back."""
    steps = np.diff(times_s)
    if not len(steps):
        return []
    # Frames that are stored in another order than shown go back and forth at low frame rates.
    usual_s = MUCH * float(np.percentile(np.abs(steps), USUAL))
    back_s, leap_s = max(BACK_S, usual_s), max(LEAP_S, usual_s)
    step_s = float(np.median(np.abs(steps)))
    leaps = 1 + np.flatnonzero((steps <= -back_s) | (steps >= leap_s))
    edges = [*leaps.tolist(), len(times_s)]
    lengths_s = [float(np.ptp(times_s[a:b])) + step_s for a, b in pairwise(edges)]
    found: list[int] = []
    number = 0
    while number < len(leaps):
        first = edges[number]
        before_s = float(times_s[first - 1])
        for back in range(number + 1, min(len(leaps), number + 1 + FEW)):
            past, wrong = edges[back], slice(first, edges[back])
            gap_s = float(times_s[past]) - before_s
            filled_s = step_s + sum(lengths_s[number:back])
            few = past - first <= FEW and -back_s < gap_s < leap_s
            fills = abs(gap_s - filled_s) < max(FILLED_S, usual_s) and 2 * (past - first) < len(times_s)
            if few or (fills and alone(wrong, before_s)):
                found += range(first, past)
                number = back
                break
        number += 1
    return found


def _at_ends(
    times_s: Times, numbers: Places, forward_s: float, alone: Callable[[slice, float], bool]
) -> Places:
    """Which of a stream's packets `numbers` (n,), at `times_s` (n,), are the first or the last and a run of
    timestamps of their own."""
    count = len(times_s)
    steps = np.diff(times_s)
    breaks = 1 + np.flatnonzero((steps <= -BACK_S) | (steps >= forward_s))
    nothing = numbers[:0]
    if len(breaks) != 1 or count <= 4 * FEW_AT_ENDS:
        return nothing
    edge = int(breaks[0])
    is_head = 2 * edge < count
    ends, right_s = (slice(edge), times_s[edge]) if is_head else (slice(edge, count), times_s[edge - 1])
    end = numbers[ends]
    few = len(end) <= FEW_AT_ENDS
    short = np.ptp(times_s[ends]) <= ENDS_S and 4 * len(end) < count
    return end if few or (short and alone(slice(end[0], end[-1] + 1), float(right_s))) else nothing


def forward_s(container: str) -> float:
    """FORWARD_S for a container of that name."""
    return FORWARD_TS_S if container in ("mpegts", "mpeg") else FORWARD_S
