"""What the packets of a file say, rather than its header: runs of timestamps, and their length."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError

from avsync.core.records import Span
from avsync.core.streams import AudioStream, Media, Piece, VideoStream
from avsync.media import reference
from avsync.media.clock import (
    Numbers,
    Places,
    Run,
    Runs,
    Stamp,
    Times,
    early,
    forward_s,
    leaving,
    lone,
    pieces,
    seconds,
    wild,
)
from avsync.media.container import demux, opened
from avsync.media.damage import LEAST_S
from avsync.media.grid import anchors
from avsync.media.reference import WRAP_S, Reference, clocked
from avsync.media.unseen import REORDERED

LONGEST_S = 10.0
"""A packet that claims to last for more seconds is not believed."""
UNREAD_SHARE, UNREAD_BYTES = 0.1, 100_000
"""More than this share of a file, and this many bytes, after its last packet is not an index but unread
media."""
DAY_S = 86_400.0
"""A file that begins later counts from an arbitrary number."""
LEFT_OUT = -1
"""The number of the run of a packet whose timestamp is wrong."""
WRONG_S = 0.5
"""A stated length that differs from that of the packets by more seconds than this is ignored."""


@dataclass(frozen=True)
class Scan:
    """By stream, `begins`: when its first packet is presented, and `ends`: the last run it is in and the end
    of what it presents there; `shown`: (n, 2) begin and end of each packet; `frames`: (n, 2) the run and the
    begin of each packet of video; `past_byte`: where the last one ends in the file, 0 where that is not
    recorded; `wild` and `turns` as in Media, `wraps_s` as in Piece."""

    runs: Sequence[Run]
    begins: dict[int, float]
    ends: dict[int, tuple[int, float]]
    shown: Times
    frames: Times
    past_byte: int
    wild: frozenset[tuple[int, int]] = frozenset()
    turns: tuple[tuple[int, int, int], ...] = ()
    wraps_s: float = math.inf


def scanned(media: Media) -> Media:
    """The media with its pieces, and with lengths taken from its packets.

    Raises FFmpegError or OSError when the file cannot be opened.
    """
    found = _runs(media)
    if not found.runs:
        return media
    media = _started(media, found)
    laid = pieces(found.runs, media.origin_s, found.wraps_s)
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
        turns=found.turns,
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


def _started(media: Media, found: Scan) -> Media:
    """The media with the starts that it has without wild timestamps, and from 0 where they are those of a
    clock rather than of the media."""
    first_s = found.runs[0].first_s
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


def _runs(media: Media) -> Scan:
    with opened(media.path, media.window) as container:
        streams = clock_streams(container, media)
        if container.format.name.startswith("mov") and (found := _indexed(streams, media)):
            return found
    with opened(media.path, media.window) as container:
        streams = clock_streams(container, media)
        clock = _reference(media, {stream.id for stream in streams})
        return placed(_stamps(container, streams), media, clock)


def _reference(media: Media, pids: set[int]) -> Reference | None:
    if media.container == "mpegts":
        return reference.in_transport_stream(media.path, pids, media.window)
    return reference.in_program_stream(media.path, media.window) if media.container == "mpeg" else None


def placed(stamps: Iterable[Stamp], media: Media, clock: Reference | None) -> Scan:
    """The scan of the packets `stamps` of a file, in its order, with the clock reference that it has."""
    streams, values, begins_at, past_byte = array("i"), array("d"), array("q"), 0
    for stamp in stamps:
        past_byte = max(past_byte, stamp.past_byte)
        begins_at.append(stamp.first_byte)
        streams.append(stamp.stream)
        values.extend((stamp.time_s, stamp.first_s, stamp.past_s))
    if not values:
        return Scan((), {}, {}, np.zeros((0, 2)), np.zeros((0, 2)), past_byte)
    rows, of_stream = np.frombuffer(values).reshape(-1, 3), np.frombuffer(streams, np.int32)
    places = np.frombuffer(begins_at, np.int64)
    stretches, wraps_s = np.zeros(len(rows), np.intp), math.inf
    arrival_s = np.full(len(rows), np.nan)
    if clock and (by_clock := clocked(clock, _known(places, of_stream), of_stream, rows)):
        stretches, rows, arrival_s, wraps_s = by_clock.stretches, by_clock.rows, by_clock.arrival_s, WRAP_S
    runs, numbers = list[Run](), np.full(len(rows), LEFT_OUT, np.intp)
    for stretch in np.unique(stretches):
        within = np.flatnonzero(stretches == stretch)
        within = np.delete(within, early(rows[within, 0], of_stream[within], arrival_s[within]))
        alone = [] if clock else lone(rows[within, 1], of_stream[within])
        found, its = _in_runs(
            rows[within], of_stream[within], places[within], forward_s(media.container), alone
        )
        numbers[within] = np.where(its == LEFT_OUT, LEFT_OUT, its + len(runs))
        runs += found
    wrong, turns = _named(of_stream, numbers)
    shown = numbers != LEFT_OUT
    begins, ends = dict[int, float](), dict[int, tuple[int, float]]()
    for stream in np.unique(of_stream[shown]).tolist():
        own = np.flatnonzero(shown & (of_stream == stream))
        last = numbers[own].max()
        begins[stream] = float(rows[own[numbers[own] == numbers[own[0]]][:REORDERED], 1].min())
        ends[stream] = int(last), float(rows[own[numbers[own] == last], 2].max())
    of_video = shown & (of_stream == (media.video.index if media.video else -1))
    frames = np.column_stack([numbers[of_video].astype(np.float64), rows[of_video, 1]])
    return Scan(runs, begins, ends, rows[shown, 1:], frames, past_byte, wrong, turns, wraps_s)


def _known(places: Numbers, streams: Numbers) -> Numbers:
    """File positions (n,) of packets, of which most demuxers know only that of the first in each PES packet;
    0 where none is known."""
    found = places.copy()
    for stream in np.unique(streams):
        own = np.flatnonzero(streams == stream)
        latest = np.maximum.accumulate(np.where(places[own] > 0, np.arange(len(own)), 0))
        found[own] = places[own[latest]]
    return found


def _in_runs(
    rows: Times, streams: Numbers, places: Numbers, limit_s: float, alone: Sequence[int]
) -> tuple[list[Run], Places]:
    """The runs of packets (n,) on one clock, and the number of the run that each is in, LEFT_OUT where its
    timestamp is wrong, as of those that are `alone`."""
    wrong = [*wild(rows[:, 1], streams, limit_s), *alone]
    kept = np.setdiff1d(np.arange(len(rows)), wrong)
    rows = _decoded_in_turn(rows, streams, kept) if alone else rows
    leaves = set(kept[leaving(rows[kept, 0], streams[kept])].tolist())
    runs, numbers = Runs(limit_s), np.full(len(rows), LEFT_OUT, np.intp)
    for at in kept.tolist():
        time_s, first_s, past_s = rows[at].tolist()
        stamp = Stamp(int(streams[at]), time_s, first_s, past_s, int(places[at]))
        numbers[at] = runs.place(stamp, leaves=at in leaves)
    return runs.runs, numbers


def _decoded_in_turn(rows: Times, streams: Numbers, kept: Places) -> Times:
    """The packets with times of decoding for the first that are `kept` of each stream as if there were none
    before: Matroska has none, so its demuxer makes them up from the times of presentation."""
    rows = rows.copy()
    for stream in np.unique(streams[kept]):
        first = kept[streams[kept] == stream][:REORDERED]
        no_earlier = np.maximum(rows[first, 0], rows[first, 1].min())
        rows[first, 0] = np.minimum.accumulate(no_earlier[::-1])[::-1]
    return rows


def _named(
    streams: Numbers, numbers: Places
) -> tuple[frozenset[tuple[int, int]], tuple[tuple[int, int, int], ...]]:
    """`Media.wild` and `Media.turns` of packets of `streams` (n,) in the runs `numbers` (n,)."""
    wrong, turns = set[tuple[int, int]](), list[tuple[int, int, int]]()
    for stream in np.unique(streams).tolist():
        own = numbers[streams == stream]
        wrong |= {(stream, int(at)) for at in np.flatnonzero(own == LEFT_OUT)}
        kept = np.flatnonzero(own != LEFT_OUT)
        turned = kept[np.diff(own[kept], prepend=0) != 0]
        turns += [(stream, int(at), int(own[at])) for at in turned]
    return frozenset(wrong), tuple(turns)


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


def _indexed(streams: list[Any], media: Media) -> Scan | None:
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
    past_s = max(float(found.past_s.max()) for found in entries.values())
    begin_s, end_s = float(first_s[0]), float(first_s[-1])
    runs = [Run(begin_s, end_s, begin_s, past_s)]
    begins = {index: float(found.first_s[0]) for index, found in entries.items()}
    ends = {index: (0, float(found.past_s.max())) for index, found in entries.items()}
    shown = np.concatenate([np.column_stack([found.first_s, found.past_s]) for found in entries.values()])
    video = entries.get(media.video.index) if media.video else None
    shown_s = video.first_s if video else np.zeros(0)
    frames = np.column_stack([np.zeros(len(shown_s)), shown_s])
    past_byte = max(found.past_byte for found in entries.values())
    return Scan(runs, begins, ends, shown, frames, past_byte)


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


def lasting_s(packet: Any, unit: Fraction) -> float:
    """Seconds that a packet or a frame lasts, whose times are in `unit`; 0 where that is not known, or cannot
    be."""
    length_s = seconds(packet.duration or 0, unit)
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
    length_s = lasting_s(packet, unit)
    first_byte = packet.pos if packet.pos and packet.pos > 0 else 0
    past_byte = first_byte + packet.size if first_byte else 0
    return Stamp(packet.stream.index, time_s, first_s, first_s + length_s, first_byte, past_byte)
