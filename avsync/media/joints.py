"""Where a file goes on as another recording, joined byte by byte.

FFmpeg's demuxers keep the streams that they found at the beginning, so what another recording has under other
numbers, or in another codec, would be lost; some end where the first one does. The places at which one begins
are found here; each part is then opened by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path

from avsync.core.streams import Media
from avsync.media import reference, tables
from avsync.media.fragments import top_boxes
from avsync.media.patterns import matches

MPEG = ("mpegts", "mpeg")
"""FFmpeg's names of formats that go on into another recording without headers."""
MAX_JOINTS = 64
"""More of them are no recordings but a stream whose tables are damaged."""
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

Streams = tuple[tuple[int, int, bytes] | None, ...]
"""(type, PID, descriptors) of a program's first video and first audio."""


def in_transport_stream(path: Path) -> list[int]:
    """The file positions at which the first video or the first audio of a program changes its PID or codec,
    or no program stays."""
    found, known, programs = list[int](), dict[int, Streams](), dict[int, int]()
    pat_at = 0
    for section in tables.sections(path):
        if section.is_pat:
            announced = tables.programs(section.data)
            if programs and announced and not announced.items() & programs.items():
                found.append(section.place)
                known.clear()
            programs, pat_at = announced or programs, section.place
        elif section.is_pmt and section.pid in programs.values():
            streams = _streams(section.data)
            if known.get(section.program, streams) != streams:
                near = section.place - pat_at <= NEAR_PACKETS * section.packet_bytes
                found.append(pat_at if near else section.place)
                known.clear()
            known[section.program] = streams
    return found if len(found) <= MAX_JOINTS else []


def in_program_stream(path: Path) -> list[int]:
    """The file positions of packs whose clock does not go on from the one before."""
    clock = reference.in_program_stream(path)
    found = clock.jumps if clock else []
    return found if len(found) <= MAX_JOINTS else []


def cuts(media: Media) -> list[int]:
    """The file positions at which a file can be cut into the recordings that it was joined from, and each be
    opened by itself; none where it is a single one."""
    if media.parts:
        return [part.window[1] for part in media.parts[:-1] if part.window]
    if media.container not in MPEG or len(media.pieces) < 2:
        return []
    if media.container == "mpeg":
        begins = [(place, 1 << 63) for place, _ in matches(media.path, reference.PACK, 10)]
    else:
        pats = (section for section in tables.sections(media.path) if section.pid == tables.PAT)
        begins = [(pat.place, NEAR_PACKETS * pat.packet_bytes) for pat in pats]
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
    for place, _ in matches(path, HEADERS[container], 16) if container in HEADERS else ():
        if place - before > HEADER_BYTES:
            found.append(place)
        before = place
    return found if len(found) <= MAX_JOINTS else []


def _streams(pmt: bytes) -> Streams:
    """The first video and the first audio in a PMT."""
    video, audio = None, None
    for kind, pid, descriptors in tables.streams(pmt):
        if kind in VIDEO_TYPES and video is None:
            video = kind, pid, b""
        tags = set(tables.tags(descriptors))
        if audio is None and (kind in AUDIO_TYPES or (kind == PRIVATE and not tags & TEXT)):
            audio = kind, pid, bytes(sorted(tags)) if kind == PRIVATE else b""
    return video, audio
