"""The packets of an MPEG transport stream, of which many are read at once: ISO/IEC 13818-1 2.4.3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

CHUNK_BYTES = 1 << 24
SYNC = 0x47
SIZES = ((188, 0), (192, 4), (204, 0))
"""Bytes of a packet, and how many of them are before its sync byte: plain, Blu-ray's, and with parity."""


@dataclass(frozen=True)
class Packets:
    """Packets that follow one another from file position `place` on, `size` bytes each: `data` (n, 188) uint8
    from their sync byte, `shift` bytes later."""

    place: int
    size: int
    shift: int
    data: npt.NDArray[np.uint8]

    @property
    def pids(self) -> npt.NDArray[np.int32]:
        return (self.data[:, 1].astype(np.int32) & 0x1F) << 8 | self.data[:, 2]

    @property
    def begins(self) -> npt.NDArray[np.bool_]:
        """Whether a section or PES packet begins in each."""
        return self.data[:, 1] & 0x40 != 0


@dataclass
class Reader:
    """Reads a transport stream from file position `place` on, whatever lies between its packets."""

    file: IO[bytes]
    place: int = 0
    size: int = 188
    shift: int = 0

    def chunks(self) -> Iterator[Packets]:
        self._synchronise()
        while True:
            rows = self._rows()
            if not len(rows) and (not self._synchronise() or not len(rows := self._rows())):
                return
            yield Packets(self.place, self.size, self.shift, rows[:, self.shift : self.shift + 188])
            self.place += len(rows) * self.size

    def _synchronise(self) -> bool:
        """Go to the next place from which packets follow one another."""
        self.file.seek(self.place)
        data = np.frombuffer(self.file.read(CHUNK_BYTES), np.uint8) == SYNC
        found: list[tuple[int, int, int]] = []
        for size, shift in SIZES:
            if len(data) <= 4 * size:
                continue
            both = data[: -4 * size] & data[size : -3 * size] & data[2 * size : -2 * size]
            places = np.flatnonzero(both & data[3 * size : -size])
            found += [(int(place) - shift, size, shift) for place in places[:1]]
        if not found or self.place + min(found)[0] < 0:
            return False
        by, self.size, self.shift = min(found)
        self.place += by
        return True

    def _rows(self) -> npt.NDArray[np.uint8]:
        """The next packets, (n, size), up to the first that does not begin as one."""
        self.file.seek(self.place)
        data = np.frombuffer(self.file.read(CHUNK_BYTES // self.size * self.size), np.uint8)
        rows = data[: len(data) // self.size * self.size].reshape(-1, self.size)
        wrong = np.flatnonzero(rows[:, self.shift] != SYNC)
        return rows[: wrong[0]] if len(wrong) else rows
