"""Edit lists of MP4 and MOV that FFmpeg's demuxer does not follow: several edits in a track, of which it
places those after the first to a packet; and in fragments, where it reads the first alone and gives what that
hides as well."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from avsync.core.errors import MediaError
from avsync.core.streams import AudioStream, Edit, Media, Piece, VideoStream
from avsync.media.clock import Times, seconds
from avsync.media.container import demux, opened
from avsync.media.edits import hidden_s
from avsync.media.fragments import boxes, top_boxes
from avsync.media.grid import anchors

Stream = TypeVar("Stream", VideoStream, AudioStream)
Row = tuple[int, int, int]
"""(length in units of the movie, begin in units of the track or NOTHING, speed)."""

MAX_MOOV_BYTES = 1 << 28
NOTHING = -1
"""The media time of an edit in which nothing is shown."""
EPSILON_S = 1e-6
PRIMING_S = 0.15
"""Encoders put up to this much before the first sample; it is cut off, but does no harm where it is not."""
WHOLE = (Edit(0.0, 0.0, np.inf),)
"""A track without an edit list."""
RATES = (0x10000, 0)
"""Ordinary speed, and how some writers leave it out."""


@dataclass(frozen=True)
class _List:
    """A track's edits, ISO/IEC 14496-12 8.6.6: seconds of presentation (0: to the end), of the media (None:
    nothing is shown), and speed as stored."""

    rows: tuple[tuple[float, float | None, int], ...]

    @property
    def shown(self) -> int:
        return sum(media_s is not None for _, media_s, _ in self.rows)

    @property
    def cuts(self) -> bool:
        """Whether the beginning of the track may be hidden."""
        return any(media_s for _, media_s, _ in self.rows)


def followed(media: Media) -> Media:
    """The media as its edit lists have it, where its demuxer does not follow them.

    Raises MediaError where parts are repeated, in another order, or faster or slower; FFmpegError or OSError
    when the file cannot be read.
    """
    if not media.container.startswith("mov") or media.window is not None:
        return media
    lists = _lists(media.path)
    if not any(found.shown > 1 or found.cuts for found in lists.values()):
        return media
    numbers = _track_numbers(media)
    wanted = {number: lists[number] for number in numbers.values() if number in lists}
    if not (any(found.shown > 1 for found in wanted.values()) or _hide_in_fragments(media)):
        return media
    edits = {number: _edits(media.path, found) for number, found in wanted.items()}
    return _with_edits(media, {index: edits.get(number) or WHOLE for index, number in numbers.items()})


def _hide_in_fragments(media: Media) -> bool:
    """Whether the file has fragments of which an edit list hides more than an encoder's priming."""
    with media.path.open("rb") as file:
        if not any(name == b"moof" for name, _, _ in top_boxes(file)):
            return False
    return any(hidden_s(media.path, None, stream.index) > PRIMING_S for stream in _streams(media))


def _track_numbers(media: Media) -> dict[int, int]:
    """The track's number in the file by stream number, of the video and all audio."""
    with opened(media.path) as container:
        return {stream.index: container.streams[stream.index].id for stream in _streams(media)}


def _streams(media: Media) -> list[VideoStream | AudioStream]:
    return [stream for stream in (media.video, *media.audio) if stream]


def _lists(path: Path) -> dict[int, _List]:
    """The edit lists of a file by track."""
    with path.open("rb") as file:
        place = next(((start, size) for name, start, size in top_boxes(file) if name == b"moov"), None)
        if place is None:
            return {}
        file.seek(place[0])
        moov = file.read(min(place[1], MAX_MOOV_BYTES))
    inside = list(boxes(moov))
    unit = next((timescale(box) for name, box in inside if name == b"mvhd"), 0)
    return dict(track for name, box in inside if name == b"trak" if (track := _track(box, unit)))


def timescale(header: bytes) -> int:
    """Units of a second, of `mvhd` or `mdhd`."""
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


def rows_of(table: bytes) -> list[Row]:
    """The rows of an `elst` box."""
    row = struct.Struct(">Qqi" if table[0] == 1 else ">Iii")
    count = min(struct.unpack_from(">I", table, 4)[0], (len(table) - 8) // row.size)
    return [row.unpack_from(table, 8 + row.size * number) for number in range(count)]


def _track(trak: bytes, movie_unit: int) -> tuple[int, _List] | None:
    """The number of a track and its edits, if it has any; `movie_unit`: the units of their lengths."""
    parts = dict(boxes(trak))
    header = parts.get(b"tkhd", b"")
    at = 20 if header[:1] == b"\1" else 12
    unit = timescale(dict(boxes(parts.get(b"mdia", b""))).get(b"mdhd", b""))
    table = dict(boxes(parts.get(b"edts", b""))).get(b"elst", b"")
    if not (movie_unit and unit and len(table) >= 8):
        return None
    return int.from_bytes(header[at : at + 4], "big"), _List(
        tuple(
            (length / movie_unit, None if begin == NOTHING else begin / unit, speed)
            for length, begin, speed in rows_of(table)
        )
    )


def _edits(path: Path, found: _List) -> tuple[Edit, ...]:
    """The edits that show something."""
    edits: list[Edit] = []
    start_s = 0.0
    for length_s, media_s, speed in found.rows:
        if media_s is not None:
            before_s = edits[-1].media_s + edits[-1].length_s if edits else -np.inf
            if media_s < before_s - EPSILON_S or speed not in RATES:
                raise MediaError(
                    f"{path} has an edit list that repeats parts, reorders them or changes their speed; "
                    "export it as a plain video first."
                )
            edits.append(Edit(start_s, media_s, length_s or np.inf))
        start_s += length_s
    # In fragments, a single edit may have been written when the length was not yet known.
    return tuple(edits) if len(edits) > 1 else tuple(replace(edit, length_s=np.inf) for edit in edits)


def _with_edits(media: Media, edits: dict[int, tuple[Edit, ...]]) -> Media:
    times = _packet_times(media, list(edits))
    ends: list[float] = []

    def placed(stream: Stream) -> Stream:
        shown = presented(times[stream.index], edits[stream.index], whole=isinstance(stream, VideoStream))
        if not len(shown):
            return stream
        start_s, end_s = float(shown[0, 0]), float(shown[:, 1].max())
        ends.append(end_s)
        changed = replace(stream, start_s=start_s, duration_s=end_s - start_s, edits=edits[stream.index])
        if not isinstance(changed, VideoStream):
            return changed
        anchors_s = tuple(anchors(shown[:, 0], changed.fps)[1:])
        return replace(changed, late_s=min(0.0, changed.late_s), anchors_s=anchors_s)

    video, audio = media.video and placed(media.video), tuple(placed(stream) for stream in media.audio)
    end_s = max(ends, default=media.duration_s)
    piece = Piece(0.0, end_s, 0.0)
    return replace(
        media, video=video, audio=audio, duration_s=end_s, pieces=(piece,), holes=(), header_s=None
    )


def _packet_times(media: Media, indexes: list[int]) -> dict[int, Times]:
    """(n, 2) begin and end of each packet of these streams on its track's own clock, in order."""
    found: dict[int, list[tuple[float, float]]] = {index: [] for index in indexes}
    late_s = {media.video.index: min(0.0, media.video.late_s)} if media.video else {}
    with opened(media.path, ignore_editlist="1") as container:
        for packet in demux(container, *(container.streams[index] for index in indexes)):
            if packet.pts is not None:
                begin_s = seconds(packet.pts, packet.time_base) + late_s.get(packet.stream.index, 0.0)
                end_s = begin_s + seconds(packet.duration or 0, packet.time_base)
                found[packet.stream.index].append((begin_s, end_s))
    return {index: np.array(sorted(rows)).reshape(-1, 2) for index, rows in found.items()}


def presented(times: Times, edits: tuple[Edit, ...], *, whole: bool) -> Times:
    """When what lies at `times` (n, 2) of a track, begin and end, is presented (m, 2); what begins before an
    edit is cut, or with `whole` left out."""
    found = []
    for edit in edits:
        past_s = edit.media_s + edit.length_s
        first_s = times[:, 0] if whole else times[:, 1]
        inside = times[
            (first_s > edit.media_s - (EPSILON_S if whole else -EPSILON_S))
            & (times[:, 0] < past_s - EPSILON_S)
        ]
        found.append(np.clip(inside, edit.media_s, past_s) + edit.start_s - edit.media_s)
    return np.concatenate(found) if found else times


def as_edited(
    frames: Iterable[tuple[float, float, Any]], edits: tuple[Edit, ...], *, whole: bool
) -> Iterator[tuple[float, float, Any]]:
    """(time_s, length_s, frame) of a track's own clock as they are presented: the samples of an audio frame
    that an edit shows; of video, frames that begin before one are left out (`whole`)."""
    for time_s, length_s, frame in frames:
        for edit in edits:
            past_s = edit.media_s + edit.length_s
            begin_s, end_s = max(time_s, edit.media_s), min(time_s + length_s, past_s)
            if whole and edit.media_s - EPSILON_S < time_s < past_s - EPSILON_S:
                yield edit.start_s + time_s - edit.media_s, length_s, frame
            elif not whole and end_s - begin_s > EPSILON_S:
                yield (
                    edit.start_s + begin_s - edit.media_s,
                    end_s - begin_s,
                    _cut(frame, begin_s - time_s, end_s - time_s),
                )


def _cut(frame: Any, first_s: float, past_s: float) -> Any:
    """The samples of an audio frame from `first_s` to `past_s` after its beginning."""
    first, past = round(first_s * frame.sample_rate), round(past_s * frame.sample_rate)
    if first == 0 and past >= frame.samples:
        return frame
    count = 1 if frame.format.is_planar else frame.layout.nb_channels
    kept = np.ascontiguousarray(frame.to_ndarray()[:, first * count : past * count])
    part = av.AudioFrame.from_ndarray(kept, frame.format.name, frame.layout.name)
    part.sample_rate = frame.sample_rate
    return part
