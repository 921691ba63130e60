"""The clock reference of an MPEG stream (PCR of a transport, SCR of a program stream): where in the file its
clock shows what.

It grows with every byte of a recording, whatever is wrong with the timestamps of single packets, so it tells
where the next recording begins, which of two clocks a timestamp counts on, and whether a leap is a pause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.media import tables
from avsync.media.clock import FORWARD_TS_S, Numbers, Places, Times, wild
from avsync.media.patterns import matches
from avsync.media.pes import TICKS_PER_S
from avsync.media.transport import Packets, Reader

WRAP_S = 2**33 / TICKS_PER_S
"""After so many seconds the clock and all timestamps start over at 0."""
BACK_S = 0.1
"""By how much it may go back within a recording: it should not at all."""
BEHIND_S, AHEAD_S = 2.0, 10.0
"""How much earlier and later than the clock shows where it lies in the file a packet may be presented:
decoders need not hold back more than ten seconds, and some muxers are late."""
PACK = re.compile(b"\0\0\1\xba")
"""How the packs of a program stream begin, of which each has a reference."""


@dataclass(frozen=True)
class Reference:
    """The clock shows `times_s` (n,) at the file positions `places` (n,), which ascend; it goes on from one
    to the next, but for those numbered `begins` (m,), each of which begins another stretch."""

    places: Numbers
    times_s: Times
    begins: Places

    @property
    def jumps(self) -> list[int]:
        """The file positions at which it starts over or jumps."""
        return [int(place) for place in self.places[self.begins]]

    def at(self, places: Numbers) -> tuple[Places, Times]:
        """The number of the stretch, and what the clock shows, at file positions (k,)."""
        latest = np.maximum(np.searchsorted(self.places, places, "right") - 1, 0)
        stretches = np.searchsorted(self.begins, latest, "right")
        coming = np.minimum(latest + 1, len(self.places) - 1)
        goes_on = np.searchsorted(self.begins, coming, "right") == stretches
        between_s = np.interp(places, self.places, self.times_s)
        return stretches, np.where(goes_on, between_s, self.times_s[latest])


def in_transport_stream(
    path: Path, pids: set[int], window: tuple[int, int] | None = None
) -> Reference | None:
    """That of the program in which the streams `pids` are, with places within the `window` of the file; None
    where it has none. Raises OSError."""
    pmts = [section for section in tables.sections(path) if section.is_pmt]
    wanted = {pmt.pcr_pid for pmt in pmts if any(pid in pids for _, pid, _ in tables.streams(pmt.data))}
    begin, end = window or (0, path.stat().st_size)
    places, ticks = list[Numbers](), list[Numbers]()
    with path.open("rb") as file:
        for packets in Reader(file, begin).chunks():
            rows, found = _pcr(packets, wanted)
            places.append(packets.place - begin + rows * packets.size)
            ticks.append(found)
            if packets.place >= end:
                break
    if not places:
        return None
    every, shown = np.concatenate(places), np.concatenate(ticks)
    within = every < end - begin
    return _reference(every[within], shown[within] / TICKS_PER_S)


def in_program_stream(path: Path, window: tuple[int, int] | None = None) -> Reference | None:
    """That of a program stream, like `in_transport_stream`."""
    begin, end = window or (0, path.stat().st_size)
    found = [(place - begin, _scr(head)) for place, head in matches(path, PACK, 10) if begin <= place < end]
    if not found:
        return None
    places, ticks = np.array(found, np.int64).T
    return _reference(places, ticks / TICKS_PER_S)


def _reference(places: Numbers, times_s: Times) -> Reference | None:
    """The reference without single values that leap away, and as if the clock never started over at its
    end."""
    if not len(places):
        return None
    times_s = np.concatenate([times_s[:1], times_s[0] + np.cumsum(unwrapped(np.diff(times_s)))])
    right = np.setdiff1d(np.arange(len(places)), wild(times_s, np.zeros(len(times_s), np.intp)))
    places, times_s = places[right], times_s[right]
    steps_s = np.diff(times_s)
    return Reference(places, times_s, 1 + np.flatnonzero((steps_s < -BACK_S) | (steps_s >= FORWARD_TS_S)))


def _pcr(packets: Packets, pids: Iterable[int]) -> tuple[Places, Numbers]:
    """Which packets have a reference for these PIDs, and those, in ticks: ISO/IEC 13818-1 2.4.3.4."""
    data = packets.data
    has = (data[:, 3] & 0x20 != 0) & (data[:, 4] >= 7) & (data[:, 5] & 0x10 != 0)
    rows = np.flatnonzero(has & np.isin(packets.pids, list(pids)))
    bytes_of_it = data[rows, 6:11].astype(np.int64)
    return rows, bytes_of_it @ np.array([1 << 25, 1 << 17, 1 << 9, 1 << 1, 0]) + (bytes_of_it[:, 4] >> 7)


def _scr(head: bytes) -> int:
    """The clock in a pack's header, in ticks: ISO/IEC 11172-1 2.4.3.2, 13818-1 2.5.3.3."""
    bits = int.from_bytes(head[4:9], "big")
    if head[4] & 0xC0 == 0x40:  # MPEG-2: marker bits after 3, 15 and 15 bits
        return (bits >> 35 & 7) << 30 | (bits >> 19 & 0x7FFF) << 15 | bits >> 3 & 0x7FFF
    return (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF


# --- Timestamps against it ------------------------------------------------------------------


@dataclass(frozen=True)
class Clocked:
    """Packets (n,) against the reference: the `stretches` of it on which their timestamps count, their times
    `rows` (n, 3) as if the clock never started over at its end, and what it shows where they lie in the
    file, `arrival_s`, NaN before it begins."""

    stretches: Places
    rows: Times
    arrival_s: Times


def clocked(clock: Reference, places: Numbers, streams: Numbers, rows: Times) -> Clocked | None:
    """Packets of `streams` (n,) at file positions `places` (n,), in the order of the file, with times `rows`
    (n, 3): when they are decoded, and the begin and end of their presentation. None where they do not go by
    the reference.

    A packet counts on the clock that is shown where it lies, unless it goes on from the one before it in its
    stream, or belongs to the next stretch, and does not fit there. Where the clock starts over at its end,
    times stay as most of the stretch have them.
    """
    stretches, arrival_s = clock.at(places)
    raw_s = rows[:, 0]
    ahead_s = unwrapped(raw_s - arrival_s)
    if abs(float(np.median(ahead_s))) > AHEAD_S:
        return None
    overs = np.round((raw_s - arrival_s - ahead_s) / WRAP_S)
    begins_s = clock.times_s[clock.begins]
    for number in np.unique(stretches):
        of_it = stretches == number
        most_s = WRAP_S * np.round(np.median(overs[of_it]))
        arrival_s[of_it] += most_s
        if number:
            begins_s[number - 1] += most_s
    times_s = unwrapped(raw_s, arrival_s)
    fits = (ahead_s > -BEHIND_S) & (ahead_s < AHEAD_S)
    if len(clock.begins) and not fits.all():
        stretches, times_s = _moved(stretches, times_s, streams, fits, begins_s)
    arrival_s = np.where(places < clock.places[0], np.nan, arrival_s)
    return Clocked(stretches, unwrapped(rows, times_s[:, None]), arrival_s)


def _moved(
    stretches: Places, times_s: Times, streams: Numbers, fits: npt.NDArray[np.bool_], begins_s: Times
) -> tuple[Places, Times]:
    """The packets that do not fit where they lie, on the stretch before or after it if they fit there;
    `begins_s`: when each stretch but the first begins."""
    stretches, times_s = stretches.copy(), times_s.copy()
    before: dict[int, int] = {}
    for at, stream in enumerate(streams.tolist()):
        if not fits[at]:
            last = before.get(stream)
            goes_on_s = unwrapped(times_s[at] - times_s[last]) if last is not None else np.inf
            coming = int(stretches[at])
            if last is not None and abs(goes_on_s) < AHEAD_S:
                stretches[at], times_s[at] = stretches[last], times_s[last] + goes_on_s
            elif coming < len(begins_s) and -BEHIND_S < unwrapped(times_s[at] - begins_s[coming]) < AHEAD_S:
                stretches[at] = coming + 1
                times_s[at] = begins_s[coming] + unwrapped(times_s[at] - begins_s[coming])
        before[stream] = at
    return stretches, times_s


def unwrapped(times_s: Times, to_s: Times | float = 0.0) -> Times:
    """Times of a clock that starts over after WRAP_S, as if it did not: those nearest to `to_s`."""
    return times_s - WRAP_S * np.round((times_s - to_s) / WRAP_S)
