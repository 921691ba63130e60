"""Fragmented MP4: what its demuxer makes of composition offsets below zero."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_MOOF_BYTES = 1 << 24
FRAGMENTS = 8
"""Fragments of which a track's offsets are looked at."""
# Flags of `tfhd` and `trun`, ISO/IEC 14496-12 8.8.7 and 8.8.8: which optional fields there are.
DATA_OFFSET, FIRST_FLAGS = 0x1, 0x4
SAMPLE_FIELDS = (0x100, 0x200, 0x400, 0x800)
COMPOSITION = 0x800


def demuxer_delay(path: Path, track: int) -> int:
    """By how many of its time units FFmpeg's demuxer presents a track late: as many as its lowest composition
    offset is below zero, which in fragments nothing takes back. 0 where the file has no fragments, or is none
    of MP4."""
    lowest = 0
    with path.open("rb") as file:
        for moof in _moofs(file):
            for name, traf in _boxes(moof):
                if name == b"traf":
                    lowest = min(lowest, _lowest_offset(traf, track))
    return -lowest


def _moofs(file: IO[bytes]) -> Iterator[bytes]:
    """The content of the first `moof` boxes."""
    found, place = 0, 0
    while found < FRAGMENTS:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        start = 8
        if size == 1 and len(head) == 16:
            size, start = struct.unpack_from(">Q", head, 8)[0], 16
        if size < start:
            return
        if name == b"moof":
            found += 1
            file.seek(place + start)
            yield file.read(min(size - start, MAX_MOOF_BYTES))
        place += size


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the boxes in one."""
    place = 0
    while place + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, place)
        if size < 8:
            return
        yield name, content[place + 8 : place + size]
        place += size


def _lowest_offset(traf: bytes, track: int) -> int:
    """The lowest composition offset of a track fragment, at most 0; 0 where it is another track's."""
    lowest = 0
    for name, box in _boxes(traf):
        if name == b"tfhd" and (len(box) < 8 or struct.unpack_from(">I", box, 4)[0] != track):
            return 0
        if name == b"trun" and len(box) >= 8:
            flags = int.from_bytes(box[1:4], "big")
            if not flags & COMPOSITION:
                continue
            start = 8 + 4 * bool(flags & DATA_OFFSET) + 4 * bool(flags & FIRST_FLAGS)
            row = 4 * sum(bool(flags & field) for field in SAMPLE_FIELDS)
            count = min(struct.unpack_from(">I", box, 4)[0], (len(box) - start) // row)
            offsets = (struct.unpack_from(">i", box, start + (n + 1) * row - 4)[0] for n in range(count))
            lowest = min(lowest, min(offsets, default=0))
    return lowest
