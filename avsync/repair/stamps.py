"""Shift the audio of an MPEG stream, FLV or Matroska by changing the times of its packets, and nothing else.

Recordings that were joined into one stream, and files with wrong timestamps, have a clock that no muxer
takes over. Where they keep their format, they need none. MPEG streams keep their tables, bit rates and clock
reference in this way, too, where their audio still arrives before it is due.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from avsync.core.draft import Draft, unwritable
from avsync.core.errors import MediaError
from avsync.core.streams import Media
from avsync.media import blocks, pes, reference
from avsync.media.container import opened
from avsync.media.joints import MPEG
from avsync.media.parity import PACKET_BYTES, PARITY_BYTES, parity
from avsync.media.reference import AHEAD_S, unwrapped
from avsync.media.transport import Reader

MUXERS = {
    "mpegts": ("mpegts",),
    "mpeg": ("vob", "mpeg"),
    "flv": ("flv",),
    "matroska,webm": ("matroska", "webm"),
}
"""FFmpeg's muxers of these containers, by its demuxers."""
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Shift:
    """How to shift the bytes [first, past) of a file: streams with the numbers `moved` by `by_s` seconds, all
    others by `rest_s`."""

    first: int
    past: int
    moved: frozenset[int]
    by_s: float
    rest_s: float

    def by(self, number: int) -> float:
        """Seconds by which the stream of that number is shifted."""
        return self.by_s if number in self.moved else self.rest_s


def needed(media: Media) -> bool:
    """Whether a file has a clock that no muxer takes over, or several programs, of which FFmpeg's makes one.
    Only MPEG streams stay one file when joined."""
    others = media.stream_kinds.count("audio") > len(media.audio)
    in_one_file = media.container in MPEG and (media.parts or len(media.pieces) > 1 or others)
    return bool(in_one_file or (media.wild and not media.parts))


def preferred(media: Media, audio_track: int | None, by_s: float) -> bool:
    """Whether an MPEG stream can be shifted in place: its audio, delayed by `by_s`, still lies in the file
    before the moment at which it is due by the stream's clock, and decoders can hold it back so long."""
    if media.container not in MPEG or not media.pieces or media.pieces[0].first_s + by_s < 0:
        return False
    ahead_s = _ahead_s(media, audio_track)
    return ahead_s is not None and ahead_s[0] + by_s >= 0 and ahead_s[1] + by_s < AHEAD_S


@lru_cache(maxsize=1)
def _ahead_s(media: Media, audio_track: int | None) -> tuple[float, float] | None:
    """How much earlier than it is due the audio of an MPEG stream arrives by its clock reference, at least
    and at most; None where it has no such clock."""
    moved = _numbers(media, audio_track)
    clock = (
        reference.in_transport_stream(media.path, set(moved))
        if media.container == "mpegts"
        else reference.in_program_stream(media.path)
    )
    places, due = list[int](), list[int]()
    with media.path.open("rb") as file:
        for number, fields in pes.time_fields(media.path, media.container):
            if number in moved and fields:
                file.seek(fields[0])
                places.append(fields[0])
                due.append(pes.ticks(file.read(pes.FIELD_BYTES)))
    if clock is None or not due:
        return None
    arrival_s = clock.at(np.array(places))[1]
    ahead_s = unwrapped(np.array(due) / pes.TICKS_PER_S - arrival_s)
    return float(ahead_s.min()), float(ahead_s.max())


def number_of(container: str, index: int, number: int, kind: str) -> int:
    """By what the packets of a stream are known in a container: FFmpeg's id of it (`number`) in MPEG streams,
    its `index` in Matroska, and its `kind` in FLV."""
    if container == "flv":
        return blocks.FLV_AUDIO if kind == "audio" else blocks.FLV_VIDEO
    return number if container in MPEG else index


def shifts(media: Media, audio_track: int | None, by_s: float) -> tuple[Shift, ...]:
    """How to delay the audio of a file, or one track of it, by `by_s` seconds: the same in each part. Where
    audio would begin before the clock does, everything else is delayed instead of advancing it."""
    parts = media.parts or (media,)
    low_s = min((piece.first_s for part in parts for piece in part.pieces), default=0.0)
    rest_s = 0.0 if low_s + by_s >= 0 else -by_s
    starts = [part.window[0] if part.window else 0 for part in parts]
    edges = [0, *starts[1:], media.path.stat().st_size]
    return tuple(
        Shift(first, past, _numbers(part, audio_track), by_s + rest_s, rest_s)
        for part, (first, past) in zip(parts, pairwise(edges), strict=True)
    )


def _numbers(part: Media, audio_track: int | None) -> frozenset[int]:
    """The numbers of a part's audio streams, or of the track of that number."""
    wanted = [stream.index for stream in part.audio if audio_track in (None, stream.track)]
    with opened(part.path, part.window) as container:
        return frozenset(
            number_of(part.container, index, container.streams[index].id, "audio") for index in wanted
        )


def write_shifted(src: Path, container: str, how: Sequence[Shift], made: Draft) -> None:
    """Write `src` into a draft with its packets shifted.

    Raises:
        OutputError: the draft cannot be written.
        MediaError: the source cannot be read.
    """
    try:
        source = src.open("rb")
    except OSError as error:
        raise MediaError(f"{src} cannot be read ({error}); check its permissions.") from error
    try:
        with source, os.fdopen(os.dup(made.handle), "r+b") as copy:
            shutil.copyfileobj(source, copy, BLOCK_BYTES)
            for place, size, moved in _moves(src, container, how):
                source.seek(place)
                field = source.read(size)
                copy.seek(place)
                copy.write(moved(field))
            if container == "mpegts":
                _write_parity(source, copy)
    except OverflowError as error:
        raise MediaError(
            f"{src} cannot hold its audio so much earlier or later ({error}); give a smaller offset."
        ) from error
    except OSError as error:
        raise unwritable(made.target, error) from error


def _write_parity(source: IO[bytes], copy: IO[bytes]) -> None:
    """Make the parity of packets right where they changed and it was; some have other bytes in its place."""
    copy.flush()
    for old, new in zip(Reader(source).chunks(), Reader(copy).chunks(), strict=True):
        if old.size != PACKET_BYTES + PARITY_BYTES:
            continue
        for row in np.flatnonzero((old.data != new.data).any(axis=1)):
            place = old.place + int(row) * old.size + PACKET_BYTES
            source.seek(place)
            if source.read(PARITY_BYTES) == parity(old.data[row].tobytes()):
                copy.seek(place)
                copy.write(parity(new.data[row].tobytes()))


def _moves(
    src: Path, container: str, how: Sequence[Shift]
) -> Iterator[tuple[int, int, Callable[[bytes], bytes]]]:
    """(file position, bytes, what becomes of them) of each time that changes."""
    left = deque(how)
    for number, place, size, later in _fields(src, container):
        while left[0].past <= place and len(left) > 1:
            left.popleft()
        if by_s := left[0].by(number):
            yield place, size, partial(later, by_s=by_s)


def _fields(src: Path, container: str) -> Iterator[tuple[int, int, int, Callable[..., bytes]]]:
    """(stream, file position, bytes, what they are `by_s` seconds later) of each time in a file."""
    if container in MPEG:
        for number, places in pes.time_fields(src, container):
            yield from ((number, place, pes.FIELD_BYTES, pes.later) for place in places)
    else:
        for field in blocks.time_fields(src, container):
            yield field.stream, field.place, field.size, partial(blocks.later, field)
