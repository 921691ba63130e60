"""What the packets of a file say, rather than its header: runs of timestamps, and their length."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError

from avsync.core.records import Span
from avsync.core.streams import AudioStream, Media, Piece, VideoStream
from avsync.media.clock import Run, Runs, Stamp, Times, forward_s, leaving, pieces, seconds, wild
from avsync.media.container import demux, opened
from avsync.media.damage import LEAST_S
from avsync.media.grid import anchors

LONGEST_S = 10.0
"""A packet that claims to last for more seconds is not believed."""
UNREAD_SHARE, UNREAD_BYTES = 0.1, 100_000
"""More than this share of a file, and this many bytes, after its last packet is not an index but unread
media."""
DAY_S = 86_400.0
"""A file that begins later counts from an arbitrary number."""
WRONG_S = 0.5
"""A stated length that differs from that of the packets by more seconds than this is ignored."""


@dataclass(frozen=True)
class _Scan:
    """By stream, `begins`: when its first packet is presented, and `ends`: the last run it is in and the end
    of what it presents there; `shown`: (n, 2) begin and end of each packet; `frames`: (n, 2) the run and the
    begin of each packet of video; `past_byte`: where the last one ends in the file, 0 where that is not
    recorded; `wild` and `leaving` as in Media."""

    runs: Runs
    begins: dict[int, float]
    ends: dict[int, tuple[int, float]]
    shown: Times
    frames: Times
    past_byte: int
    wild: frozenset[tuple[int, int]] = frozenset()
    leaving: frozenset[tuple[int, int]] = frozenset()


def scanned(media: Media) -> Media:
    """The media with its pieces, and with lengths taken from its packets.

    Raises FFmpegError or OSError when the file cannot be opened.
    """
    found = _runs(media)
    if not found.runs.runs:
        return media
    media = _started(media, found)
    laid = pieces(found.runs, media.origin_s)
    end_s = max(piece.end_s for piece in laid)
    video = media.video
    if video is not None and (last := found.ends.get(video.index)) is not None:
        length_s = last[1] + laid[last[0]].shift_s - video.start_s
        if video.duration_s is None or abs(video.duration_s - length_s) > WRONG_S:
            video = replace(video, duration_s=length_s)
        video = replace(video, anchors_s=_anchors(video, found.frames, laid))
    if media.duration_s <= 0 or abs(media.duration_s - end_s) > WRONG_S:
        media = replace(media, duration_s=max(0.0, end_s), header_s=media.duration_s or None)
    holes = _holes(found.shown, laid) if len(laid) == 1 else ()
    unread = _unread(media, found.past_byte)
    return replace(
        media,
        video=video,
        pieces=laid,
        wild=found.wild,
        leaving=found.leaving,
        holes=holes,
        unread_bytes=unread,
    )


def _anchors(video: VideoStream, frames: Times, laid: tuple[Piece, ...]) -> tuple[float, ...]:
    """`VideoStream.anchors_s`: each piece begins with one, but that in which the video does."""
    found: list[float] = []
    for number in np.unique(frames[:, 0]).astype(int):
        times_s = np.sort(frames[frames[:, 0] == number, 1]) + laid[number].shift_s
        found += anchors(times_s, video.fps)
    # What an index says of the first frame, and what is presented, may be some frames apart.
    return tuple(at_s + video.start_s - found[0] if len(laid) == 1 else at_s for at_s in found[1:])


def _started(media: Media, found: _Scan) -> Media:
    """The media with the starts that it has without wild timestamps, and from 0 where they are those of a
    clock rather than of the media."""
    first_s = found.runs.runs[0].first_s
    origin_s = media.origin_s
    if first_s - origin_s > DAY_S or (origin_s and found.wild):
        origin_s = first_s

    def begins_s(stream: VideoStream | AudioStream) -> float:
        starts_s = stream.start_s + media.origin_s
        packet_s = found.begins.get(stream.index, starts_s)
        wrong = (stream.index, 0) in found.wild or abs(starts_s - packet_s) > LONGEST_S
        return (packet_s if wrong else starts_s) - origin_s

    video = replace(media.video, start_s=begins_s(media.video)) if media.video else None
    audio = tuple(replace(stream, start_s=begins_s(stream)) for stream in media.audio)
    return replace(media, video=video, audio=audio, origin_s=origin_s)


def _unread(media: Media, past_byte: int) -> int:
    """Bytes after the last packet, where there are too many for an index: in files joined byte by byte the
    container's structure covers only the first."""
    size = media.window[1] - media.window[0] if media.window else media.path.stat().st_size
    unread = size - past_byte if past_byte else 0
    return unread if unread > max(UNREAD_BYTES, UNREAD_SHARE * size) else 0


def _runs(media: Media) -> _Scan:
    with opened(media.path, media.window) as container:
        streams = clock_streams(container, media)
        if container.format.name.startswith("mov") and (found := _indexed(streams, media)):
            return found
    with opened(media.path, media.window) as container:
        return _placed(_stamps(container, clock_streams(container, media)), media)


def _placed(stamps: Iterator[Stamp], media: Media) -> _Scan:
    streams, values, begins_at, past_byte = array("i"), array("d"), array("q"), 0
    for stamp in stamps:
        past_byte = max(past_byte, stamp.past_byte)
        begins_at.append(stamp.first_byte)
        streams.append(stamp.stream)
        values.extend((stamp.time_s, stamp.first_s, stamp.past_s))
    limit_s = forward_s(media.container)
    rows = np.frombuffer(values).reshape(-1, 3) if values else np.zeros((0, 3))
    of_stream = np.frombuffer(streams, np.int32) if streams else np.zeros(0, np.int32)
    left_out = set(wild(rows[:, 1], of_stream, limit_s))
    kept = np.setdiff1d(np.arange(len(rows)), sorted(left_out))
    leaves = {int(kept[place]) for place in leaving(rows[kept, 0], of_stream[kept])}
    counts, wrong, left = dict[int, int](), set[tuple[int, int]](), set[tuple[int, int]]()
    runs = Runs(limit_s)
    begins: dict[int, float] = {}
    ends: dict[int, tuple[int, float]] = {}
    video = media.video.index if media.video else -1
    frames = array("d")
    for place, stream in enumerate(streams):
        counts[stream] = counts.get(stream, -1) + 1
        if place in left_out:
            wrong.add((stream, counts[stream]))
            continue
        time_s, first_s, past_s = values[3 * place : 3 * place + 3]
        if place in leaves:
            left.add((stream, counts[stream]))
        stamp = Stamp(stream, time_s, first_s, past_s, begins_at[place])
        number = runs.place(stamp, leaves=place in leaves)
        if stream == video:
            frames.extend((number, first_s))
        begins.setdefault(stream, first_s)
        ends[stream] = max(ends.get(stream, (number, past_s)), (number, past_s))
    frame_times = np.array(frames).reshape(-1, 2)
    return _Scan(
        runs, begins, ends, rows[kept, 1:], frame_times, past_byte, frozenset(wrong), frozenset(left)
    )


def _holes(shown: Times, laid: tuple[Piece, ...]) -> tuple[Span, ...]:
    """The stretches that are in no [first_s, past_s) of `shown`, (n, 2)."""
    spans = shown[np.argsort(shown[:, 0], kind="stable")] + laid[0].shift_s
    reached = np.maximum.accumulate(spans[:-1, 1])
    return tuple(
        (float(reached[i]), float(spans[i + 1, 0])) for i in np.flatnonzero(spans[1:, 0] - reached > LEAST_S)
    )


def clock_streams(container: InputContainer, media: Media) -> list[Any]:
    """The streams whose timestamps make up the clock: the video and all audio."""
    video = [media.video.index] if media.video else []
    return [container.streams[i] for i in (*video, *(stream.index for stream in media.audio))]


def _indexed(streams: list[Any], media: Media) -> _Scan | None:
    """The scan of an MP4 or MOV from its index, without reading the media; None where the index is
    incomplete, or its times are not one run."""
    size = media.path.stat().st_size
    if any(not s.frames or s.frames > len(s.index_entries) for s in streams):
        return None
    entries = {s.index: _entries(s, size) for s in streams}
    entries = {index: found for index, found in entries.items() if len(found.first_s)}
    if not entries:
        return None
    first_s = np.sort(np.concatenate([found.first_s for found in entries.values()]))
    backwards = any((np.diff(found.first_s) < 0).any() for found in entries.values())
    if backwards or (np.diff(first_s) >= forward_s(media.container)).any():
        return None
    runs = Runs(forward_s(media.container))
    past_s = max(float(found.past_s.max()) for found in entries.values())
    begin_s, end_s = float(first_s[0]), float(first_s[-1])
    runs.runs.append(Run(begin_s, end_s, begin_s, past_s))
    begins = {index: float(found.first_s[0]) for index, found in entries.items()}
    ends = {index: (0, float(found.past_s.max())) for index, found in entries.items()}
    shown = np.concatenate([np.column_stack([found.first_s, found.past_s]) for found in entries.values()])
    video = entries.get(media.video.index) if media.video else None
    shown_s = video.first_s if video else np.zeros(0)
    frames = np.column_stack([np.zeros(len(shown_s)), shown_s])
    past_byte = max(found.past_byte for found in entries.values())
    return _Scan(runs, begins, ends, shown, frames, past_byte)


@dataclass(frozen=True)
class _Entries:
    """What the index says of a stream's packets: each is presented in [first_s, past_s), (n,) float64; the
    last ends at file position `past_byte`."""

    first_s: npt.NDArray[np.float64]
    past_s: npt.NDArray[np.float64]
    past_byte: int


def _entries(stream: Any, size: int) -> _Entries:
    """Those within the `size` bytes of the file, up to the first that is not."""
    rows = ((e.timestamp, e.pos + e.size, e.is_discard) for e in stream.index_entries)
    found = np.fromiter(rows, np.dtype([("time", "i8"), ("past", "i8"), ("discard", "?")]))
    beyond = np.flatnonzero(found["past"] > size)
    found = found[: beyond[0]] if len(beyond) else found
    found = found[~found["discard"]]
    first_s = found["time"] * float(stream.time_base)
    # An index says when packets begin; each is taken to last as long as the one before it did.
    lengths_s = np.diff(first_s, prepend=first_s[:1])
    return _Entries(first_s, first_s + lengths_s, int(found["past"].max(initial=0)))


def _stamps(container: InputContainer, streams: list[Any]) -> Iterator[Stamp]:
    try:
        for packet in demux(container, streams):
            if stamp := stamp_of(packet):
                yield stamp
    except FFmpegError:
        return


def lasting_s(packet: Any) -> float:
    """Seconds that a packet or a frame lasts; 0 where that is not known, or cannot be."""
    length_s = seconds(packet.duration or 0, packet.time_base)
    return length_s if length_s <= LONGEST_S else 0.0


def stamp_of(packet: Any) -> Stamp | None:
    """The packet's times; None where it has none, or is not presented."""
    pts = packet.dts if packet.pts is None else packet.pts
    if pts is None or packet.is_discard:
        return None
    unit = packet.time_base
    first_s = seconds(pts, unit)
    time_s = first_s if packet.dts is None else seconds(packet.dts, unit)
    if abs(time_s - first_s) > LONGEST_S:
        time_s = first_s  # Where a demuxer made up `dts` from the packets before, it lags behind a jump.
    length_s = lasting_s(packet)
    first_byte = packet.pos if packet.pos and packet.pos > 0 else 0
    past_byte = first_byte + packet.size if first_byte else 0
    return Stamp(packet.stream.index, time_s, first_s, first_s + length_s, first_byte, past_byte)
