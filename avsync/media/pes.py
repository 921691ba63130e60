"""Where an MPEG stream has the times of its packets (PES), and what they are: ISO/IEC 13818-1 2.4.3.6.

A time is five bytes with 33 bits of it, counted at 90 kHz.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avsync.media.transport import Reader

TICKS_PER_S = 90_000
FIELD_BYTES = 5
START = b"\0\0\1"
PACK, PRIVATE = 0xBA, 0xBD
"""The codes of a pack's header, and of streams that say in their first byte which they are."""
WITHOUT_TIMES = frozenset((0xBB, 0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF))
"""Codes of headers, tables, padding and the like."""
AC3_SYNC = b"\x0b\x77"
HEAD_BYTES = 64
"""Bytes of a packet in which its times are, if it has any."""


def time_fields(path: Path, container: str) -> Iterator[tuple[int, list[int]]]:
    """(stream, file positions) of the times of each packet: presentation, then decoding. The stream has the
    number that FFmpeg gives it. Raises OSError."""
    yield from _in_transport_stream(path) if container == "mpegts" else _in_program_stream(path)


def _in_transport_stream(path: Path) -> Iterator[tuple[int, list[int]]]:
    with path.open("rb") as file:
        for packets in Reader(file).chunks():
            pids = packets.pids
            # A transport packet of null data or with an error has no times to rely on.
            good = packets.begins & (packets.data[:, 1] & 0x80 == 0) & (packets.data[:, 3] & 0x10 != 0)
            for row in np.flatnonzero(good):
                data = packets.data[row].tobytes()
                start = 5 + data[4] if data[3] & 0x20 else 4
                if data[start : start + 3] == START and data[start + 3] not in WITHOUT_TIMES:
                    here = packets.place + int(row) * packets.size + packets.shift
                    fields = [here + start + at for at in _fields(data[start:])]
                    yield int(pids[row]), fields


def _in_program_stream(path: Path) -> Iterator[tuple[int, list[int]]]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(START)
        while 0 <= place <= len(data) - 6:
            code = data[place + 3]
            if code == PACK:
                place += 14 + (data[place + 13] & 7 if data[place + 4] & 0xC0 == 0x40 else -2)
            elif code < PACK:
                place += 3
            else:
                head = data[place : place + HEAD_BYTES]
                if code not in WITHOUT_TIMES:
                    yield _number(head), [place + at for at in _fields(head)]
                place += 6 + int.from_bytes(head[4:6], "big")
            if data[place : place + 3] != START:
                place = data.find(START, place)


def _number(head: bytes) -> int:
    """The stream of a packet in a program stream."""
    if head[3] != PRIVATE:
        return 0x100 | head[3]
    content = head[_header(head)[2] :]
    return 0x100 | PRIVATE if not content or content.startswith(AC3_SYNC) else content[0]


def _fields(pes: bytes) -> list[int]:
    """The places of the times in a packet that begins with its start code."""
    at, count, _ = _header(pes)
    places = [at + FIELD_BYTES * number for number in range(count)]
    return [place for place in places if place + FIELD_BYTES <= len(pes)]


def _header(pes: bytes) -> tuple[int, int, int]:
    """Where the times of a packet begin, how many they are, and where its content begins."""
    if len(pes) > 9 and pes[6] & 0xC0 == 0x80:
        return 9, (0, 0, 1, 2)[pes[7] >> 6], 9 + pes[8]
    at = 6  # MPEG-1: stuffing, a buffer's size, and then the times, or a byte in their place
    while at < min(len(pes) - 1, 22) and pes[at] == 0xFF:
        at += 1
    at += 2 if at < len(pes) and pes[at] & 0xC0 == 0x40 else 0
    count = {0x20: 1, 0x30: 2}.get(pes[at] & 0xF0, 0) if at < len(pes) else 0
    return at, count, at + (FIELD_BYTES * count or 1)


def ticks(field: bytes) -> int:
    """The time in a field."""
    a, b, c, d, e = field
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def with_ticks(field: bytes, time: int) -> bytes:
    """The field with another time; its clock starts over at 2**33."""
    time %= 1 << 33
    return bytes(
        (
            field[0] & 0xF1 | time >> 29 & 0xE,
            time >> 22 & 0xFF,
            field[2] & 1 | time >> 14 & 0xFE,
            time >> 7 & 0xFF,
            field[4] & 1 | time << 1 & 0xFE,
        )
    )


def later(field: bytes, by_s: float) -> bytes:
    """The field `by_s` seconds later."""
    return with_ticks(field, ticks(field) + round(by_s * TICKS_PER_S))
