"""Fragmented MP4: what its demuxer makes of composition offsets below zero."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

MAX_MOOF_BYTES = 1 << 24
FRAGMENTS = 8
"""Fragments of which a track's offsets are looked at."""
MAX_BOXES = 10_000
"""Outermost boxes that are stepped over; a file made of nothing but empty ones has millions."""
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
            for name, traf in boxes(moof):
                if name == b"traf":
                    lowest = min(lowest, _lowest_offset(traf, track))
    return -lowest


def _moofs(file: IO[bytes]) -> Iterator[bytes]:
    """The content of the first `moof` boxes."""
    fragments = ((start, size) for name, start, size in top_boxes(file) if name == b"moof")
    for start, size in islice(fragments, FRAGMENTS):
        file.seek(start)
        yield file.read(min(size, MAX_MOOF_BYTES))


def top_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its content starts, bytes of it) of the outermost boxes of an MP4 or MOV, MAX_BOXES at
    most; up to one that is none or that lasts to the end of the file."""
    place, end = 0, file.seek(0, os.SEEK_END)
    for _ in range(MAX_BOXES):
        if place + 8 > end:
            return
        file.seek(place)
        head = file.read(16)
        size, name = struct.unpack_from(">I4s", head)
        start = 8
        if size == 1 and len(head) == 16:
            size, start = struct.unpack_from(">Q", head, 8)[0], 16
        if size < start:
            yield name, place + start, 0
            return
        yield name, place + start, size - start
        place += size


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
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
    for name, box in boxes(traf):
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
