"""Where a file goes on as another recording, joined byte by byte.

FFmpeg's demuxers keep the streams that they found at the beginning, so what another recording has under other
numbers, or in another codec, would be lost; some end where the first one does. The places at which one begins
are found here; each part is then opened by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core.streams import Media
from avsync.media.fragments import top_boxes
from avsync.media.transport import CHUNK_BYTES, Reader

MPEG = ("mpegts", "mpeg")
"""FFmpeg's names of formats that go on into another recording without headers."""
MAX_JOINTS = 64
"""More of them are no recordings but a stream whose tables are damaged."""
PAT, PMT = 0, 2
"""PID of the program association table, and the number of a program map table, ISO/IEC 13818-1 2.4.4."""
VIDEO_TYPES = frozenset((0x01, 0x02, 0x10, 0x1B, 0x24, 0x33, 0x42, 0xD1, 0xD2, 0xEA))
AUDIO_TYPES = frozenset((0x03, 0x04, 0x0F, 0x11, *range(0x80, 0x88), 0xA1, 0xA2, 0xC1, 0xC2))
PRIVATE, TEXT = 0x06, frozenset((0x45, 0x46, 0x56, 0x59))
"""The type of streams that descriptors explain, and the descriptors of teletext, subtitles and the like."""
NEAR_PACKETS = 8
"""Packets before a changed PMT in which the PAT of the same recording may lie."""
HEADERS = {
    "matroska,webm": re.compile(b"\x1a\x45\xdf\xa3"),
    "flv": re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09"),
    "avi": re.compile(b"RIFF....AVI LIST", re.DOTALL),
    "asf": re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),
    "ogg": re.compile(rb"OggS\0\x02"),
    "nut": re.compile(b"nut/multimedia container\0"),
}
"""How files of a format begin, by FFmpeg's name."""
HEADER_BYTES = 4096
"""Headers nearer than this to the one before belong to the same recording; Ogg has one for each stream."""
PACK = re.compile(b"\0\0\1\xba")
BACK_S, FORWARD_S = 0.5, 10.0
"""By how much the clock of a program stream (SCR) jumps where another recording begins."""

Streams = tuple[tuple[int, int, bytes] | None, ...]
"""(type, PID, descriptors) of a program's first video and first audio."""


def in_transport_stream(path: Path) -> list[int]:
    """The file positions at which the first video or the first audio of a program changes its PID or codec,
    or no program stays."""
    found, known, programs = list[int](), dict[int, Streams](), dict[int, int]()
    pat_at = 0
    for place, packet_bytes, pid, section in _sections(path):
        if pid == PAT and section[:1] == b"\0":
            announced = _programs(section)
            if programs and announced and not announced.items() & programs.items():
                found.append(place)
                known.clear()
            programs, pat_at = announced or programs, place
        elif section[:1] == bytes([PMT]) and pid in programs.values():
            number, streams = int.from_bytes(section[3:5], "big"), _streams(section)
            if known.get(number, streams) != streams:
                near = place - pat_at <= NEAR_PACKETS * packet_bytes
                found.append(pat_at if near else place)
                known.clear()
            known[number] = streams
    return found if len(found) <= MAX_JOINTS else []


def in_program_stream(path: Path) -> list[int]:
    """The file positions of packs whose clock does not go on from the one before."""
    found, before_s = list[int](), None
    for place, head in _matches(path, PACK, 10):
        now_s = _scr_s(head)
        if before_s is not None and not -BACK_S < now_s - before_s < FORWARD_S:
            found.append(place)
        before_s = now_s
    return found if len(found) <= MAX_JOINTS else []


def cuts(media: Media) -> list[int]:
    """The file positions at which a file can be cut into the recordings that it was joined from, and each be
    opened by itself; none where it is a single one."""
    if media.parts:
        return [part.window[1] for part in media.parts[:-1] if part.window]
    if media.container not in MPEG or len(media.pieces) < 2:
        return []
    if media.container == "mpeg":
        begins = [(place, 1 << 63) for place, _ in _matches(media.path, PACK, 10)]
    else:
        tables = (found[:3] for found in _sections(media.path))
        begins = [(place, NEAR_PACKETS * size) for place, size, pid in tables if pid == PAT]
    return [_begin_before(piece.first_byte, begins) for piece in media.pieces[1:]]


def _begin_before(place: int, begins: list[tuple[int, int]]) -> int:
    """The latest of the places `begins`, which each are near for so many bytes, before that of a packet; that
    of the packet where none is near."""
    number = bisect_right(begins, place, key=lambda begin: begin[0]) - 1
    return begins[number][0] if number >= 0 and place - begins[number][0] <= begins[number][1] else place


def at_headers(path: Path, container: str) -> list[int]:
    """The file positions at which another file of this format may begin."""
    found, before = list[int](), 0
    if container.startswith("mov"):
        with path.open("rb") as file:
            boxes = [(name, start) for name, start, _ in top_boxes(file)]
        names = [name for name, _ in boxes]
        # Fragments may have a header each, and then go on.
        begins = [] if b"moof" in names else [start - 8 for name, start in boxes[1:] if name == b"ftyp"]
        return begins if len(begins) <= MAX_JOINTS else []
    for place, _ in _matches(path, HEADERS[container], 16) if container in HEADERS else ():
        if place - before > HEADER_BYTES:
            found.append(place)
        before = place
    return found if len(found) <= MAX_JOINTS else []


# --- Transport streams -------------------------------------------------------------------


def _sections(path: Path) -> Iterator[tuple[int, int, int, bytes]]:
    """(file position, packet size, PID, section) of each PAT, and of each PMT that differs from the one
    before."""
    with path.open("rb") as file:
        pmt_pids, last = set[int](), dict[int, bytes]()
        for packets in Reader(file).chunks():
            first, pids = packets.begins, packets.pids
            for row in np.flatnonzero(first & (pids == PAT)):
                pmt_pids.update(_programs(_section(packets.data[row])).values())
            for row in np.flatnonzero(first & np.isin(pids, [PAT, *pmt_pids])):
                pid, section = int(pids[row]), _section(packets.data[row])
                if pid == PAT or section != last.get(pid):
                    last[pid] = section
                    yield packets.place + int(row) * packets.size, packets.size, pid, section


def _section(packet: npt.NDArray[np.uint8]) -> bytes:
    """The table section that begins in a packet; empty where none does."""
    data = packet[:188].tobytes()
    start = 5 + data[4] if data[3] & 0x20 else 4
    if not data[3] & 0x10 or start >= len(data):
        return b""
    section = data[start + 1 + data[start] :]
    return section[: 3 + _number(section, 1, 0x0FFF)]


def _programs(section: bytes) -> dict[int, int]:
    """The PID of its PMT by program number, of a PAT."""
    entries = (section[at : at + 4] for at in range(8, len(section) - 7, 4))
    found = {_number(entry, 0): _number(entry, 2, 0x1FFF) for entry in entries}
    return {program: pid for program, pid in found.items() if program}


def _streams(section: bytes) -> Streams:
    """The first video and the first audio in a PMT."""
    video, audio = None, None
    at = 12 + _number(section, 10, 0x0FFF)
    while at + 5 <= len(section) - 4:
        kind, pid, length = section[at], _number(section, at + 1, 0x1FFF), _number(section, at + 3, 0x0FFF)
        descriptors = section[at + 5 : at + 5 + length]
        if kind in VIDEO_TYPES and video is None:
            video = kind, pid, b""
        tags = set(_tags(descriptors))
        if audio is None and (kind in AUDIO_TYPES or (kind == PRIVATE and not tags & TEXT)):
            audio = kind, pid, bytes(sorted(tags)) if kind == PRIVATE else b""
        at += 5 + length
    return video, audio


def _tags(descriptors: bytes) -> Iterator[int]:
    at = 0
    while at + 2 <= len(descriptors):
        yield descriptors[at]
        at += 2 + descriptors[at + 1]


def _number(data: bytes, at: int, mask: int = 0xFFFF) -> int:
    return int.from_bytes(data[at : at + 2], "big") & mask


# --- Program streams ---------------------------------------------------------------------


def _scr_s(head: bytes) -> float:
    """The clock in a pack's header, in seconds: ISO/IEC 11172-1 2.4.3.2, 13818-1 2.5.3.3."""
    bits = int.from_bytes(head[4:9], "big")
    if head[4] & 0xC0 == 0x40:  # MPEG-2: marker bits after 3, 15 and 15 bits
        return ((bits >> 35 & 7) << 30 | (bits >> 19 & 0x7FFF) << 15 | bits >> 3 & 0x7FFF) / 90_000
    return ((bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF) / 90_000


def _matches(path: Path, header: re.Pattern[bytes], length: int) -> Iterator[tuple[int, bytes]]:
    """(file position, `length` bytes) of each place at which a header is found."""
    with path.open("rb") as file:
        place, data = 0, file.read(CHUNK_BYTES)
        while len(data) >= length:
            for match in header.finditer(data):
                if match.start() + length <= len(data):
                    yield place + match.start(), data[match.start() : match.start() + length]
            kept = data[1 - length :]
            place += len(data) - len(kept)
            more = file.read(CHUNK_BYTES)
            data = kept + more if more else b""
