"""Shift the audio of an MP4 or MOV by its edit lists alone: ISO/IEC 14496-12 8.6.6.

Where an edit list hides the beginning of a file, ffmpeg cannot copy audio that is to be heard earlier, since
it would have to hide more of it. The list itself can.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from avsync.core.draft import Draft, unwritable
from avsync.core.errors import UsageError
from avsync.core.streams import Media
from avsync.media.container import opened
from avsync.media.editlist import NOTHING, Row, rows_of, timescale
from avsync.media.fragments import boxes, top_boxes

PLAIN = frozenset((b"ftyp", b"free", b"skip", b"wide", b"mdat", b"moov", b"udta", b"uuid"))
"""Outermost boxes without file positions, but for the index (moov)."""
INSIDE = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))
BLOCK_BYTES = 1 << 20
ONCE = 0x10000
"""The speed of an edit."""


@dataclass(frozen=True)
class ListShift:
    """Delay the tracks with these numbers by `by_s` seconds, below 0 advance them."""

    tracks: frozenset[int]
    by_s: float


def possible(path: Path) -> bool:
    """Whether a file has an index of its own and nothing else that a change of its size would break."""
    with path.open("rb") as file:
        names = [name for name, _, _ in top_boxes(file)]
    return names.count(b"moov") == 1 and PLAIN.issuperset(names)


def list_shift(media: Media, moved: Collection[int], by_s: float) -> ListShift:
    """How to delay the streams `moved` of a file by `by_s` seconds."""
    with opened(media.path) as container:
        return ListShift(frozenset(container.streams[index].id for index in moved), by_s)


def write_listed(src: Path, shift: ListShift, made: Draft) -> None:
    """Write `src` into a draft with other edit lists.

    Raises:
        UsageError: so much would be hidden that nothing is left.
        OutputError: the draft cannot be written.
    """
    try:
        with src.open("rb") as source, os.fdopen(os.dup(made.handle), "r+b") as copy:
            content, size = next((at, size) for name, at, size in top_boxes(source) if name == b"moov")
            source.seek(content)
            moov = box(b"moov", _moov(source.read(size), shift))
            begin, past = content - 8, content + size
            grown = len(moov) - (past - begin)
            source.seek(0)
            _copy(source, copy, begin)
            copy.write(_with_offsets(moov, lambda at: at + grown if at >= past else at))
            source.seek(past)
            shutil.copyfileobj(source, copy, BLOCK_BYTES)
    except OSError as error:
        raise unwritable(made.target, error) from error


def _copy(source: IO[bytes], copy: IO[bytes], count: int) -> None:
    """Copy the next bytes."""
    while count and (data := source.read(min(count, BLOCK_BYTES))):
        copy.write(data)
        count -= len(data)


def box(name: bytes, content: bytes) -> bytes:
    """A box with its header."""
    return struct.pack(">I4s", 8 + len(content), name) + content


# --- Edit lists --------------------------------------------------------------------------


def _moov(content: bytes, shift: ListShift) -> bytes:
    """The index with the tracks shifted, and its length as the longest of them."""
    inside = list(boxes(content))
    unit = next(timescale(found) for name, found in inside if name == b"mvhd")
    inside = [(name, _trak(found, unit, shift) if name == b"trak" else found) for name, found in inside]
    lengths = [_length(dict(boxes(found))[b"tkhd"], 20, 28) for name, found in inside if name == b"trak"]
    return b"".join(
        box(name, _with_length(found, max(lengths), 16, 24) if name == b"mvhd" else found)
        for name, found in inside
    )


def _trak(content: bytes, movie_unit: int, shift: ListShift) -> bytes:
    parts = list(boxes(content))
    named = dict(parts)
    header = named[b"tkhd"]
    at = 20 if header[:1] == b"\1" else 12
    if int.from_bytes(header[at : at + 4], "big") not in shift.tracks:
        return content
    unit = timescale(dict(boxes(named[b"mdia"]))[b"mdhd"])
    table = dict(boxes(named.get(b"edts", b""))).get(b"elst")
    rows = rows_of(table) if table else [(_length(header, 20, 28), 0, ONCE)]
    rows = shifted(rows, shift.by_s, movie_unit, unit)
    header = _with_length(header, sum(length for length, _, _ in rows), 20, 28)
    kept = [(name, found) for name, found in parts if name not in (b"tkhd", b"edts")]
    edits = box(b"elst", table_of(rows))
    return b"".join(box(*part) for part in [(b"tkhd", header), (b"edts", edits), *kept])


def table_of(rows: list[Row]) -> bytes:
    """An `elst` box with these rows."""
    return struct.pack(">II", 1 << 24, len(rows)) + b"".join(struct.pack(">Qqi", *row) for row in rows)


def shifted(rows: list[Row], by_s: float, movie_unit: int, unit: int) -> list[Row]:
    """The edits of a track delayed by `by_s`: with nothing first, or so much less; below 0, with less at the
    beginning where nothing is left to leave out. Raises UsageError where no more is left."""
    if by_s >= 0:
        return [(round(by_s * movie_unit), NOTHING, ONCE), *rows]
    left_s, rows = -by_s, list(rows)
    while rows and left_s > 0:
        length, begin, speed = rows.pop(0)
        here_s = min(left_s, length / movie_unit)
        left_s -= here_s
        if rest := length - round(here_s * movie_unit):
            later = begin if begin == NOTHING else begin + round(here_s * unit)
            return [(rest, later, speed), *rows]
    if not rows:
        raise UsageError("The audio ends before it would be heard; give a smaller offset.")
    return rows


def _length(header: bytes, short: int, long: int) -> int:
    """The length in a `tkhd` or `mvhd` box, at one of these places by its version."""
    return int.from_bytes(
        header[long : long + 8] if header[:1] == b"\1" else header[short : short + 4], "big"
    )


def _with_length(header: bytes, length: int, short: int, long: int) -> bytes:
    at, size = (long, 8) if header[:1] == b"\1" else (short, 4)
    return header[:at] + min(length, (1 << 8 * size) - 1).to_bytes(size, "big") + header[at + size :]


# --- Positions ---------------------------------------------------------------------------


def _with_offsets(whole: bytes, moved: Callable[[int], int]) -> bytes:
    """A box with the file positions of chunks in it as `moved` has them; their size stays."""
    name, content = whole[4:8], whole[8:]
    if name in INSIDE:
        return box(name, b"".join(_with_offsets(box(*part), moved) for part in boxes(content)))
    if name in (b"stco", b"co64"):
        count = struct.unpack_from(">I", content, 4)[0]
        row = struct.Struct(f">{count}{'I' if name == b'stco' else 'Q'}")
        return box(name, content[:8] + row.pack(*map(moved, row.unpack_from(content, 8))))
    return whole
