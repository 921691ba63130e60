"""The tables of a transport stream: what programs it has, and of what streams. ISO/IEC 13818-1 2.4.4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.media.transport import Reader

PAT, PMT = 0, 2
"""PID of the program association table, and the number of a program map table."""


@dataclass(frozen=True)
class Section:
    """A PAT or PMT, where it begins in the file, and the bytes of a packet there."""

    place: int
    packet_bytes: int
    pid: int
    data: bytes

    @property
    def is_pat(self) -> bool:
        return self.pid == PAT and self.data[:1] == b"\0"

    @property
    def is_pmt(self) -> bool:
        return self.pid != PAT and self.data[:1] == bytes([PMT])

    @property
    def program(self) -> int:
        """The number of a PMT's program."""
        return number(self.data, 3)

    @property
    def pcr_pid(self) -> int:
        """The PID with the clock reference of a PMT's program."""
        return number(self.data, 8, 0x1FFF)


def sections(path: Path) -> Iterator[Section]:
    """Each PAT, and each PMT that differs from the one before. Raises OSError."""
    with path.open("rb") as file:
        pmt_pids, last = set[int](), dict[int, bytes]()
        for packets in Reader(file).chunks():
            first, pids = packets.begins, packets.pids
            for row in np.flatnonzero(first & (pids == PAT)):
                pmt_pids.update(programs(_section(packets.data[row])).values())
            for row in np.flatnonzero(first & np.isin(pids, [PAT, *pmt_pids])):
                pid, section = int(pids[row]), _section(packets.data[row])
                if pid == PAT or section != last.get(pid):
                    last[pid] = section
                    yield Section(packets.place + int(row) * packets.size, packets.size, pid, section)


def programs(pat: bytes) -> dict[int, int]:
    """The PID of its PMT by program number."""
    entries = (pat[at : at + 4] for at in range(8, len(pat) - 7, 4))
    found = {number(entry, 0): number(entry, 2, 0x1FFF) for entry in entries}
    return {program: pid for program, pid in found.items() if program}


def streams(pmt: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, PID, descriptors) of each stream."""
    at = 12 + number(pmt, 10, 0x0FFF)
    while at + 5 <= len(pmt) - 4:
        length = number(pmt, at + 3, 0x0FFF)
        yield pmt[at], number(pmt, at + 1, 0x1FFF), pmt[at + 5 : at + 5 + length]
        at += 5 + length


def tags(descriptors: bytes) -> Iterator[int]:
    at = 0
    while at + 2 <= len(descriptors):
        yield descriptors[at]
        at += 2 + descriptors[at + 1]


def number(data: bytes, at: int, mask: int = 0xFFFF) -> int:
    """The 16 bits from byte `at` on, or those of the mask."""
    return int.from_bytes(data[at : at + 2], "big") & mask


def _section(packet: npt.NDArray[np.uint8]) -> bytes:
    """The table section that begins in a packet; empty where none does."""
    data = packet[:188].tobytes()
    start = 5 + data[4] if data[3] & 0x20 else 4
    if not data[3] & 0x10 or start >= len(data):
        return b""
    section = data[start + 1 + data[start] :]
    return section[: 3 + number(section, 1, 0x0FFF)]
