"""The content of a file's streams, packet by packet, and whether a copy still holds the same."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.stream import Discard, Disposition

from avsync.core.errors import MediaError
from avsync.media.container import demux, opened, source
from avsync.media.reference import unwrapped
from avsync.repair.framing import Unframe, Units, unframe

MOV_FAMILY = "mov,mp4"
PCM = re.compile(r"pcm_([su](8|16|24|32|64)|f(16|24|32|64))(le|be)?|pcm_(alaw|mulaw)")
TIME_TOLERANCE_S = 0.002
"""Matroska rounds to milliseconds, once before and once after a shift."""
RAW = {"ignore_editlist": "1"}
"""Options of the demuxer by which it gives all packets at the times of their tracks."""
DOUBLED_PACKETS = 200
"""Packets of audio of which the first few show whether their times are doubled."""
EMPTY_MOV_TEXT = b"\0\0"
"""The mov muxer fills the time between two subtitles with these packets."""


class DifferentError(Exception):
    """A copy does not hold what its source holds; the message says where, as a clause."""


@dataclass(frozen=True)
class Stream:
    """One stream as the container describes it.

    `number` is the container's own (a PID). `start_s` is on the container's own clock, `tick_s` the length of
    its time unit. `cover`: cover art rather than video. `byte_s`: duration of a byte of PCM, which may be cut
    into packets anywhere; 0 for other codecs. `time_code`: a QuickTime time code track. `remade`: a track
    that a muxer may generate from other data (chapter titles, time code).
    """

    index: int
    number: int
    kind: str
    codec: str
    dispositions: tuple[str, ...]
    tags: Mapping[str, str]
    tick_s: float
    start_s: float | None
    cover: bool = False
    byte_s: float = 0.0
    time_code: bool = False
    remade: bool = False


@dataclass(frozen=True)
class Chapter:
    """`start_s` is on the container's own clock."""

    start_s: float
    title: str


@dataclass(frozen=True)
class Contents:
    """What a container declares, or one in the bytes `window` of a file; `duration_s` is None if it does
    not."""

    path: Path
    container: str
    start_s: float
    duration_s: float | None
    tags: Mapping[str, str]
    chapters: tuple[Chapter, ...]
    streams: tuple[Stream, ...]
    window: tuple[int, int] | None = None
    raw: bool = False


@dataclass(frozen=True)
class Packets:
    """All packets of one stream: their number, a digest of their bytes, and their times.

    `times_s` float64 (packets, 2): presentation and decoding time, NaN where the container gives none.
    `starts` int64 (packets,): bytes of the stream before each packet. PCM counts bytes instead of packets,
    since any division into packets is equivalent.
    """

    stream: Stream
    count: int
    digest: str
    times_s: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]


# --- Reading -----------------------------------------------------------------------------


def contents(path: Path, window: tuple[int, int] | None = None, *, raw: bool = False) -> Contents:
    """What the container declares, or one in the bytes [first, past); `raw`: as if it had no edit lists.
    Raises MediaError if it cannot be opened."""
    try:
        with opened(path, window, **(RAW if raw else {})) as container:
            return Contents(
                path=path,
                container=container.format.name,
                start_s=(container.start_time or 0) / av.time_base,
                duration_s=container.duration / av.time_base if container.duration else None,
                tags=dict(container.metadata),
                chapters=tuple(
                    Chapter(float(c["start"] * (c["time_base"] or 0)), c["metadata"].get("title", ""))
                    for c in container.chapters()
                ),
                streams=tuple(_stream(s) for s in container.streams),
                window=window,
                raw=raw,
            )
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be read ({error}); check that it is a whole video file.") from error


def as_input(file: Contents) -> list[str]:
    """The file as an input of the program ffmpeg, which opens nothing else: it takes it for what it was found
    to be here, and no protocol but that of files."""
    return ["-protocol_whitelist", "file", "-f", file.container.split(",")[0], "-i", source(file.path)]


def _stream(stream: Any) -> Stream:
    codec = (
        stream.codec_context.codec.canonical_name if stream.codec_context else getattr(stream, "name", None)
    )
    chapter_titles = stream.type == "data" and stream.discard == Discard.all
    time_code = stream.type == "data" and codec is None and "timecode" in stream.metadata
    return Stream(
        index=stream.index,
        number=stream.id,
        kind=stream.type,
        codec=codec or "unknown",
        dispositions=tuple(flag.name or "" for flag in stream.disposition),
        tags=dict(stream.metadata),
        tick_s=float(stream.time_base or 0),
        start_s=None if stream.start_time is None else float(stream.start_time * stream.time_base),
        cover=bool(stream.disposition & Disposition.attached_pic),
        byte_s=_byte_s(stream),
        time_code=time_code,
        remade=chapter_titles or time_code,
    )


def _byte_s(stream: Any) -> float:
    """Duration of a byte of a PCM stream; 0 for codecs with packets, headers or planes."""
    if stream.type != "audio" or not stream.codec_context or not PCM.fullmatch(stream.codec_context.name):
        return 0.0
    context = stream.codec_context
    bits = int("".join(filter(str.isdigit, context.name)) or 8)
    return 8 / (bits * context.channels * context.sample_rate) if context.sample_rate else 0.0


@dataclass
class _Tally:
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    times: array[float] = field(default_factory=lambda: array("d"))
    """Presentation and decoding times alternate; an array, as a two-hour film has half a million packets."""
    starts: array[int] = field(default_factory=lambda: array("q"))
    size: int = 0
    unframe: Unframe = bytes

    def add(self, data: bytes, pts_s: float, dts_s: float, *, whole: bool) -> None:
        """Count a packet; `whole`: its boundaries are part of the stream's content."""
        data = self.unframe(data)
        self.digest.update(len(data).to_bytes(8, "big") + data if whole else data)
        self.times.extend((pts_s, dts_s))
        self.starts.append(self.size)
        self.size += len(data)

    def correct(self, length_s: float, dts_s: float) -> None:
        """Before a packet that is marked to be discarded: one with its time, as `doubled` has it, precedes
        it."""
        if self.times and self.times[-1] == dts_s:
            self.times[-2] -= length_s
            self.times[-1] -= length_s

    def packets(self, stream: Stream) -> Packets:
        if isinstance(self.unframe, Units):
            self.digest.update(b"".join(sorted(self.unframe.sets)))
        count = self.size if stream.byte_s else len(self.starts)
        times, starts = np.array(self.times).reshape(-1, 2), np.array(self.starts, np.int64)
        return Packets(stream, count, self.digest.hexdigest(), times, starts)


def read_packets(file: Contents, progress: Callable[[float], None] | None = None) -> tuple[Packets, ...]:
    """Read every packet without decoding; `progress` gets seconds of the file. Raises MediaError."""
    tallies = {s.index: _Tally() for s in file.streams}
    try:
        with opened(file.path, file.window, **(RAW if file.raw else {})) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                if context := stream.codec_context:  # None where nothing here decodes the codec
                    codec = file.streams[stream.index].codec
                    tallies[stream.index].unframe = unframe(codec, context.extradata or b"")
            for attachment in container.streams.attachments:
                tallies[attachment.index].digest.update(attachment.data or b"")
            for packet in demux(container):
                if packet.size == 0 or packet.stream_index not in tallies:
                    continue
                stream, data = file.streams[packet.stream_index], bytes(packet)
                if stream.codec == "mov_text" and data == EMPTY_MOV_TEXT:
                    continue
                tally = tallies[stream.index]
                if packet.is_discard and stream.kind == "audio":
                    tally.correct(
                        float((packet.duration or 0) * packet.time_base), _seconds(packet.dts, packet)
                    )
                times = _seconds(packet.pts, packet), _seconds(packet.dts, packet)
                tally.add(data, *times, whole=not stream.byte_s)
                if progress and len(tally.times) % 512 == 0 and packet.dts is not None:
                    progress(tally.times[-1] - file.start_s)
        if progress:
            progress(file.duration_s or 0.0)
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{file.path} breaks off ({error}); copy or record it again.") from error
    return tuple(tally.packets(s) for s, tally in zip(file.streams, tallies.values(), strict=True))


def doubled(file: Contents) -> frozenset[int]:
    """The audio streams of which two packets in a row have the time of the second, as ffmpeg's muxer writes
    fragments of one frame each; its demuxer marks each second one as one to discard."""
    found, before = set[int](), dict[int, int | None]()
    if not file.container.startswith(MOV_FAMILY):
        return frozenset()
    with opened(file.path) as container:
        for packet in islice(demux(container, container.streams.audio), DOUBLED_PACKETS):
            if packet.is_discard and packet.dts == before.get(packet.stream_index) is not None:
                found.add(packet.stream_index)
            before[packet.stream_index] = packet.dts
    return frozenset(found)


def _seconds(time: int | None, packet: Any) -> float:
    return float("nan") if time is None else float(time * packet.time_base)


# --- Comparing ---------------------------------------------------------------------------


def pair(before: Sequence[Packets], after: Sequence[Packets]) -> list[tuple[Packets, Packets]]:
    """Each stream of `before` with the stream of `after` that holds the same packets, byte for byte.

    Numbers may differ: some containers number streams by which comes first.

    Raises:
        DifferentError: a stream is missing, altered, or was added.
    """
    left = list(after)
    pairs = []
    for old in before:
        alike = [p for p in left if _codec(p.stream) == _codec(old.stream)]
        same = next((p for p in alike if (p.digest, p.count) == (old.digest, old.count)), None)
        if same is None:
            what = "holds other packets than before" if alike else "is missing"
            raise DifferentError(f"stream {old.stream.index} ({old.stream.kind}, {old.stream.codec}) {what}")
        left.remove(same)
        pairs.append((old, same))
    if left:
        raise DifferentError(
            f"stream {left[0].stream.index} ({left[0].stream.kind}, {left[0].stream.codec}) was added"
        )
    return pairs


def _codec(stream: Stream) -> tuple[str, str]:
    """Kind and codec. MP4 marks all layers of MPEG audio alike, so they count as one codec."""
    return stream.kind, "mp3" if stream.codec in ("mp1", "mp2") else stream.codec


def new_one(before: Sequence[Packets], after: Sequence[Packets], kind: str) -> Packets:
    """The one stream of a kind whose packets are not in `before`.

    Raises:
        DifferentError: there is none, or there are several.
    """
    known = {(p.digest, p.count) for p in before}
    new = [p for p in after if p.stream.kind == kind and (p.digest, p.count) not in known]
    if len(new) != 1:
        raise DifferentError(f"{len(new)} {kind} streams are new instead of one")
    return new[0]


def moved_by(before: Packets, after: Packets, *, wraps: bool = False) -> float | None:
    """Seconds by which every packet of a stream moved; None if neither file gives times. `wraps`: the clock
    of both starts over at its end, which demuxers undo beginning with any packet.

    Raises:
        DifferentError: the packets moved by different amounts.
    """
    for column in (0, 1):
        moves = _times_at(after, column, before.starts) - before.times_s[:, column]
        moves = moves[np.isfinite(moves)]
        moves = unwrapped(moves) if wraps else moves
        if moves.size:
            middle = float(np.median(moves))
            if np.abs(moves - middle).max() > TIME_TOLERANCE_S:
                spread = 1000 * float(np.ptp(moves))
                raise DifferentError(
                    f"the packets of stream {before.stream.index} ({before.stream.kind}) were not all moved "
                    f"alike but differ by up to {spread:.0f} ms, as where timestamps are wrong"
                )
            return middle
    return None


def _times_at(packets: Packets, column: int, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Times of the bytes with these numbers: in PCM also within a packet, otherwise at packet boundaries
    only."""
    if not len(starts):
        return np.empty(0)
    holders = np.searchsorted(packets.starts, starts, "right") - 1
    return packets.times_s[holders, column] + (starts - packets.starts[holders]) * packets.stream.byte_s
