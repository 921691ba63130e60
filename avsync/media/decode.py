"""Decode one stream of a file: frames with their presentation times, and where it is damaged."""

from __future__ import annotations

import logging
import math
import os
from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError

from avsync.core.errors import LACKS_MEMORY, MediaError, out_of_memory
from avsync.core.streams import Edit, Media, Piece
from avsync.media.clock import seconds
from avsync.media.container import demux, opened
from avsync.media.damage import Damage
from avsync.media.editlist import as_edited
from avsync.media.scan import LONGEST_S, lasting_s, stamp_of
from avsync.media.unseen import CODECS, Unseen, spared

log = logging.getLogger(__name__)

DEVICE_ERRORS = (FFmpegError, OSError, RuntimeError, ValueError, NotImplementedError)
"""What PyAV raises for a device that it cannot use."""
SAME_S = 1e-6
"""Seconds that two ways to compute one timestamp may differ by."""
MAX_THREADS = 4
"""Threads of a decoder: each holds a frame or two, and faces are found more slowly than four decode."""


def undecodable(name: str, damage: Damage, nothing: str) -> MediaError:
    """The error for a stream of which no frame came out; `nothing` is the reason where nothing went wrong."""
    why = damage.errors[0] if damage.errors else nothing
    if out_of_memory(why):
        return MediaError(LACKS_MEMORY)
    return MediaError(f"{name} cannot be decoded ({why}); copy or convert it again.")


_Coming = tuple[float, float, bool]
"""Time and length of a frame that is to come, and whether it repeats the one before it."""


def decoded(
    media: Media,
    index: int,
    damage: Damage,
    *,
    seek_s: float | None = None,
    until_s: float = math.inf,
    unseen: Unseen | None = None,
) -> Iterator[tuple[float, float, Any]]:
    """(time_s, length_s, frame) of stream number `index` in order of presentation: seconds on the media's
    timeline, `length_s` 0 where it is not known, and PyAV's frame.

    An empty packet, as in Theora and AVI, shows the frame before it once more. Decoding begins at the key
    frame before the container's timestamp `seek_s`, and ends with the first frame at or after `until_s`. A
    packet that cannot be decoded is left out and noted in `damage`; a file that breaks off ends there. Of
    video, frames that are `unseen` are not decoded where the codec allows that; at their times, too, comes
    the frame before. Raises FFmpegError or OSError where the file cannot be opened.
    """
    edits = next((s.edits for s in (media.video, *media.audio) if s and s.index == index), ())
    if edits:
        yield from _edited(media, index, edits, damage, until_s)
        return
    if not media.parts:
        on_device = media.video is not None and media.video.index == index and media.video.device
        reading = _by_device if on_device else _decoded
        yield from reading(media, index, damage, seek_s, until_s, unseen)
        return
    wanted_s = -math.inf if seek_s is None else seek_s - media.origin_s
    for part in media.parts:
        own = _same_stream(media, index, part)
        if own is not None and part.pieces[0].start_s < until_s and part.pieces[-1].end_s > wanted_s:
            yield from _decoded(part, own, damage, None, until_s, unseen)


def _by_device(
    media: Media, index: int, damage: Damage, seek_s: float | None, until_s: float, unseen: Unseen | None
) -> Iterator[tuple[float, float, Any]]:
    """`decoded` of the video by its device, and after the first error by the processor: devices vanish, and
    some do not decode all that a codec allows."""
    assert media.video is not None  # noqa: S101 - seen by the caller
    own, last_s = Damage(damage.holes), -math.inf
    try:
        for timed in _decoded(media, index, own, seek_s, until_s, unseen):
            if own.errors:
                break
            yield timed
            last_s = timed[0]
    except DEVICE_ERRORS as error:
        own.errors.append(str(error))
    if not own.errors:
        damage.starts, damage.ends, damage.last_s = own.starts, own.ends, own.last_s
        return
    log.info("%s: %s gave up: %s", media.path, media.video.device, own.errors[0])
    media = replace(media, video=replace(media.video, device=None))
    for timed in _decoded(media, index, damage, seek_s, until_s, unseen):
        if timed[0] > last_s:
            yield timed


def _edited(
    media: Media, index: int, edits: tuple[Edit, ...], damage: Damage, until_s: float
) -> Iterator[tuple[float, float, Any]]:
    """`decoded` of a track with an edit list that its demuxer does not follow."""
    within = Damage(errors=damage.errors)
    raw = _decoded(replace(media, pieces=()), index, within, None, math.inf, ignore_editlist="1")
    video = media.video is not None and media.video.index == index
    for time_s, length_s, frame in as_edited(raw, edits, whole=video):
        damage.starts.append(time_s)
        damage.ends.append(time_s + length_s)
        damage.last_s = max(damage.last_s, time_s + length_s)
        yield time_s, length_s, frame
        if time_s >= until_s:
            return


def _same_stream(media: Media, index: int, part: Media) -> int | None:
    """The number in a part of what is the video, or the audio track of that number, in the whole."""
    if media.video and media.video.index == index:
        return part.video.index if part.video else None
    track = next(stream.track for stream in media.audio if stream.index == index)
    return next((stream.index for stream in part.audio if stream.track == track), None)


def _decoded(
    media: Media,
    index: int,
    damage: Damage,
    seek_s: float | None,
    until_s: float,
    unseen: Unseen | None = None,
    **options: str,
) -> Iterator[tuple[float, float, Any]]:
    """`decoded` of a single recording; `options` are those of its demuxer."""
    from_start = len(media.pieces) > 1 or bool(media.wild)
    video = media.video if media.video and media.video.index == index else None
    late_s = video.late_s if video else 0.0
    device = video.device if video else None
    with opened(media.path, media.window, device=device, **options) as container:
        stream: Any = container.streams[index]
        context = stream.codec_context
        unit = stream.time_base  # of its packets and frames, each of which would make it anew
        prepare(context, threads=MAX_THREADS if video else 1)
        if seek_s is not None and not from_start:
            container.seek(int(seek_s * av.time_base))
        last_s, last = -math.inf, None
        again: deque[_Coming] = deque()
        packets = _packets(container, stream, media)
        packets = packets if video else _in_turn(packets)
        may_spare = video and not (video.device or from_start) and context.name in CODECS
        unseen = unseen if may_spare else None
        for number, packet, is_spared in _sparing(context, packets, media, unit, late_s, unseen):
            frames = _frames(packet, number, damage)
            piece = _piece(media, number)
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None and piece is not None:
                start_s = _shown_s(piece, stamp, unit) + late_s
                length_s = lasting_s(packet, unit)
                if packet.pts is not None:
                    damage.last_s = max(damage.last_s, start_s + length_s)
                repeats = is_spared or _is_empty(packet)
                if video and (repeats or (unseen and packet.pts is not None and not packet.is_discard)):
                    insort(again, (start_s, length_s, repeats))
            for frame in frames:
                shown = _piece(media, frame.opaque[0]) if frame.opaque else piece
                stamp = frame.dts if frame.pts is None else frame.pts
                if shown is None:
                    continue
                length_s = _length_s(frame, unit)
                time_s = last_s if stamp is None else _shown_s(shown, stamp, unit) + late_s
                if media.pieces and not -LONGEST_S < time_s - shown.start_s < shown.length_s + LONGEST_S:
                    continue  # Where packets are decoded at plausible times, but presented at wild ones.
                before = None if frame.is_corrupt and unseen else last
                yield from _once_more(before, again, min(time_s, until_s), damage)
                if frame.is_corrupt:
                    damage.errors.append("corrupt frames")
                elif math.isfinite(time_s):
                    damage.starts.append(time_s)
                    damage.ends.append(time_s + length_s)
                last_s, last = time_s + length_s, frame
                if math.isfinite(time_s):
                    yield time_s, length_s, frame
                if time_s >= until_s:
                    return
        yield from _once_more(last, again, until_s, damage)


def prepare(context: Any, threads: int = MAX_THREADS) -> None:
    """Set up a decoder whose frames have the `opaque` of their packets. Several `threads` lose frames of
    audio after packets that an edit list hides."""
    context.thread_type = "AUTO"
    context.thread_count = min(threads, os.cpu_count() or 1)
    context.flags |= Flags.copy_opaque


def _shown_s(piece: Piece, stamp: int, unit: Fraction) -> float:
    return piece.presented_s(seconds(stamp, unit))


def _sparing(
    context: Any,
    packets: Iterator[tuple[int | None, Any]],
    media: Media,
    unit: Fraction,
    late_s: float,
    unseen: Unseen | None,
) -> Iterator[tuple[int | None, Any, bool]]:
    """The packets, and whether the decoder, `context`, is now told to leave out the frame if no other refers
    to it."""

    def time_s(numbered: tuple[int | None, Any]) -> float | None:
        number, packet = numbered
        piece = _piece(media, number)
        if packet.pts is None or not packet.size or packet.is_corrupt or piece is None:
            return None
        if packet.is_discard:  # an edit list cuts it off
            return math.inf
        return _shown_s(piece, packet.pts, unit) + late_s

    if unseen is None:
        yield from ((*numbered, False) for numbered in packets)
        return
    for (number, packet), is_spared in spared(packets, time_s, unseen):
        context.skip_frame = "NONREF" if is_spared else "DEFAULT"
        yield number, packet, is_spared


def _once_more(
    frame: Any, again: deque[_Coming], before_s: float, damage: Damage
) -> Iterator[tuple[float, float, Any]]:
    """`frame` at each time in `again` before `before_s` at which it is repeated, unless one that should have
    come by then did not: what refers to that is damaged, too. `again` forgets them all."""
    whole = all(repeats for time_s, _, repeats in again if time_s < before_s - SAME_S)
    while again and again[0][0] < before_s + SAME_S:
        time_s, length_s, repeats = again.popleft()
        if whole and repeats and frame is not None and time_s < before_s - SAME_S:
            damage.starts.append(time_s)
            damage.ends.append(time_s + length_s)
            yield time_s, length_s, frame


def _piece(media: Media, number: int | None) -> Piece | None:
    """The piece of that number; None for packets with wild timestamps, which have none."""
    if number is None:
        return None
    return media.pieces[number] if media.pieces else Piece(0.0, 0.0, -media.origin_s)


def _packets(container: InputContainer, stream: Any, media: Media) -> Iterator[tuple[int | None, Any]]:
    """The packets of `stream` with the number of their piece (None: their timestamps are wild), up to where
    the container can no longer be read.

    The counters of a transport stream break off where recordings are joined, so its demuxer takes the last
    packet of each for corrupt, or its parser the one before. They are not taken for that here: if the last is
    cut, it is one frame."""
    turns = {number: piece for index, number, piece in media.turns if index == stream.index}
    numbered = bool(turns or media.wild)
    piece, count = 0, 0
    placed: int | None = 0
    try:
        for packet in demux(container, stream):
            if numbered and stamp_of(packet) is not None:
                piece = turns.get(count, piece)
                placed = None if (stream.index, count) in media.wild else piece
                count += 1
            ends = packet.is_corrupt and (count in turns or count + 1 in turns)
            yield placed, _kept(packet) if ends else packet
    except FFmpegError:
        return


def _in_turn(packets: Iterator[tuple[int | None, Any]]) -> Iterator[tuple[int | None, Any]]:
    """Packets of audio, of which none has the time of the next. ffmpeg's muxer does that to every second one
    where each frame is a fragment; its demuxer then marks the others as packets to discard."""
    held = None
    for number, packet in packets:
        coming = number, packet
        if held is not None:
            before = held[1]
            if packet.is_discard and not before.is_discard and packet.dts == before.dts is not None:
                before.pts = before.dts = before.dts - (before.duration or 0)
                coming = number, _kept(packet)
            yield held
        held = coming
    if held is not None:
        yield held


def _kept(packet: Any) -> Any:
    """A packet that the demuxer marks as one to discard, or corrupt, without that mark."""
    same: Any = av.Packet(bytes(packet))
    same.pts, same.dts, same.duration = packet.pts, packet.dts, packet.duration
    same.time_base, same.stream = packet.time_base, packet.stream
    return same


def _is_empty(packet: Any) -> bool:
    """Whether a packet has no data, unlike the one without a timestamp that ends a stream."""
    return not packet.size and (packet.pts is not None or packet.dts is not None)


def _frames(packet: Any, number: int | None, damage: Damage) -> list[Any]:
    if _is_empty(packet):
        return []  # A decoder would take it for the end.
    if packet.size:
        packet.opaque = [number]  # a new object: PyAV gives each back once
    if packet.is_corrupt:
        damage.errors.append("corrupt packets")
    try:
        return packet.decode()
    except FFmpegError as error:
        if not isinstance(error, EndOfFile):
            damage.errors.append(error.strerror or str(error))
        return []


def _length_s(frame: Any, unit: Fraction) -> float:
    samples = getattr(frame, "samples", 0)
    return samples / frame.sample_rate if samples else lasting_s(frame, unit)
