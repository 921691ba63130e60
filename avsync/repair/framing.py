"""The content of a packet without its container's framing.

MPEG-TS and AVI put start codes before the units of H.264 and HEVC, MP4 and Matroska their lengths; MPEG-TS
has a header before each AAC frame, other containers one for the whole stream.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

Unframe = Callable[[bytes], bytes]

LENGTH_AT = {"h264": 4, "hevc": 21}
"""Position of the byte in the configuration record whose last two bits are the size of a length field minus
1."""
PARAMETER_SETS = {"h264": (7, 8, 13), "hevc": (32, 33, 34)}
DELIMITERS = {"h264": (9, 12), "hevc": (35, 38)}
"""Unit types that muxers add or drop: access unit delimiters and filler."""


class Units:
    """The units of an H.264 or HEVC stream. Parameter sets may be repeated in the stream or come once before
    it, so they are not counted as part of a packet; `sets` has digests of those seen so far."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.codec = codec
        self.sets: set[bytes] = set()
        self.length_bytes = 0
        if extradata[:1] == b"\1" and len(extradata) > LENGTH_AT[codec]:
            self.length_bytes = (extradata[LENGTH_AT[codec]] & 3) + 1
            units = _record_avc(extradata) if codec == "h264" else _record_hevc(extradata)
        else:
            units = _between_start_codes(extradata)
        for unit in units:
            self._is_set(unit)

    def __call__(self, packet: bytes) -> bytes:
        """The slices and messages of a packet, each preceded by its length in four bytes."""
        kept = []
        for unit in self._units(packet):
            if unit and not self._is_set(unit) and self._type(unit) not in DELIMITERS[self.codec]:
                kept += (len(unit).to_bytes(4, "big"), unit)
        return b"".join(kept)

    def _units(self, packet: bytes) -> Iterator[bytes]:
        if not self.length_bytes:
            yield from _between_start_codes(packet)
            return
        place = 0
        while place + self.length_bytes <= len(packet):
            start = place + self.length_bytes
            place = start + int.from_bytes(packet[place:start], "big")
            yield packet[start:place].rstrip(b"\0")

    def _type(self, unit: bytes) -> int:
        return unit[0] & 31 if self.codec == "h264" else unit[0] >> 1 & 63

    def _is_set(self, unit: bytes) -> bool:
        if not unit or self._type(unit) not in PARAMETER_SETS[self.codec]:
            return False
        self.sets.add(hashlib.blake2b(unit, digest_size=16).digest())
        return True


def unframe(codec: str, extradata: bytes) -> Unframe:
    """A function that strips the container's framing off the packets of a stream."""
    if codec in LENGTH_AT:
        return Units(codec, extradata)
    if codec == "aac" and not extradata:
        return _without_adts
    return bytes


def _between_start_codes(data: bytes) -> Iterator[bytes]:
    yield from (unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", data)[1:])


def _record_avc(record: bytes) -> Iterator[bytes]:
    """The parameter sets of an AVC decoder configuration record, ISO/IEC 14496-15 5.3.3.1.2."""
    place, count = 6, record[5] & 31
    for _ in range(2):
        for _ in range(count):
            size = int.from_bytes(record[place : place + 2], "big")
            yield record[place + 2 : place + 2 + size].rstrip(b"\0")
            place += 2 + size
        count, place = (record[place] if place < len(record) else 0), place + 1


def _record_hevc(record: bytes) -> Iterator[bytes]:
    """The units of an HEVC decoder configuration record, ISO/IEC 14496-15 8.3.3.1.2."""
    place = 23
    for _ in range(record[22] if len(record) > 22 else 0):
        count = int.from_bytes(record[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            size = int.from_bytes(record[place : place + 2], "big")
            yield record[place + 2 : place + 2 + size].rstrip(b"\0")
            place += 2 + size


def _without_adts(packet: bytes) -> bytes:
    """An AAC frame without its ADTS header."""
    if len(packet) > 7 and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0:
        return packet[7 if packet[1] & 1 else 9 :]
    return packet
