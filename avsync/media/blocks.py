"""Where FLV and Matroska have the times of their packets: annex E of Adobe's specification, and RFC 9559."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FLV_HEADER_BYTES, TAG_BYTES = 13, 11
FLV_AUDIO, FLV_VIDEO = 8, 9
EBML = b"\x1a\x45\xdf\xa3"
CLUSTER = b"\x1f\x43\xb6\x75"
PARENTS = frozenset(
    (b"\x18\x53\x80\x67", CLUSTER, b"\xa0", b"\x16\x54\xae\x6b", b"\xae", b"\x15\x49\xa9\x66")
)
"""Elements that hold those looked at: segment, cluster, group of a block, tracks, track, and information."""
BLOCKS = frozenset((b"\xa3", b"\xa1"))
TRACK, TRACK_NUMBER, TRACK_TYPE, TIMESTAMP_SCALE = b"\xae", b"\xd7", b"\x83", b"\x2a\xd7\xb1"
STREAM_TYPES = frozenset((1, 2, 17, 33))
"""Types of tracks that FFmpeg takes for streams: video, audio, subtitles and metadata."""
MS_IN_NS = 1_000_000


@dataclass(frozen=True)
class Field:
    """A time of a packet: the kind of its stream in FLV, in Matroska the number that FFmpeg gives that; where
    it is in the file, its bytes, and the seconds that it counts."""

    stream: int
    place: int
    size: int
    unit_s: float


def time_fields(path: Path, container: str) -> Iterator[Field]:
    """The times of all packets of an FLV or Matroska. Raises OSError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from _in_flv(data) if container == "flv" else _in_matroska(data)


def _in_flv(data: mmap.mmap) -> Iterator[Field]:
    place = FLV_HEADER_BYTES
    while place + TAG_BYTES <= len(data):
        if data[place] in (FLV_AUDIO, FLV_VIDEO):
            yield Field(data[place], place + 4, 4, 0.001)
        place += TAG_BYTES + int.from_bytes(data[place + 1 : place + 4], "big") + 4


def _in_matroska(data: mmap.mmap) -> Iterator[Field]:
    tracks: list[dict[bytes, int]] = []
    scale, place = MS_IN_NS, 0
    while place < len(data):
        name = data[place : place + _length(data[place])]
        start = place + len(name)
        if not name or start >= len(data) or not data[start]:  # damaged: go on where it is certain
            found = data.find(CLUSTER, place + 1)
            place = found if found >= 0 else len(data)
            continue
        size, length = _number(data, start), _length(data[start])
        content = start + length
        if name == EBML:
            tracks = []
        elif name == TRACK:
            tracks.append({})
        elif name in (TRACK_NUMBER, TRACK_TYPE) and tracks:
            tracks[-1][name] = int.from_bytes(data[content : content + size], "big")
        elif name == TIMESTAMP_SCALE:
            scale = int.from_bytes(data[content : content + size], "big")
        elif name in BLOCKS:
            known = [t.get(TRACK_NUMBER) for t in tracks if t.get(TRACK_TYPE) in STREAM_TYPES]
            number = _number(data, content)
            if number in known:
                yield Field(known.index(number), content + _length(data[content]), 2, scale / 1e9)
        place = content if name in PARENTS else content + size


def _length(first: int) -> int:
    """Bytes of a number that begins with this one; 0 where none does."""
    return 9 - first.bit_length() if first else 0


def _number(data: mmap.mmap, place: int) -> int:
    """The number of variable length at a place, without the bit that says its length."""
    length = _length(data[place])
    return int.from_bytes(data[place : place + length], "big") & (1 << 7 * length) - 1


def later(field: Field, content: bytes, by_s: float) -> bytes:
    """The content of a field, `by_s` seconds later. Raises OverflowError where it holds no such time."""
    units = round(by_s / field.unit_s)
    if field.size == 2:
        return (int.from_bytes(content, "big", signed=True) + units).to_bytes(2, "big", signed=True)
    time = int.from_bytes(content[3:] + content[:3], "big") + units
    moved = time.to_bytes(4, "big")
    return moved[1:] + moved[:1]
