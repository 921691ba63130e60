"""Receive a stream as pieces of a few seconds, each a small file.

ffmpeg receives it and repacks it as NUT, which holds any codec unchanged, including AAC without a header,
which Matroska does not.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import av
from av.error import FFmpegError

from avsync.core.draft import scratch
from avsync.core.errors import AvsyncError, MediaError
from avsync.live.addresses import protocols
from avsync.media.container import demux
from avsync.media.ffmpeg import running

MARGIN_S = 0.8
"""Audio before and after a piece's video, so that its first and last frames have all candidate offsets."""
AHEAD = 1
"""Most pieces that wait; a new one replaces the oldest, so that readings stay current."""
LONGEST_S = 60.0
"""Longest piece: a stream can be cut only at key frames, and every stream has more than one a minute."""
SILENT_S = 30.0
"""A stream that sends nothing for this long is reconnected."""


@dataclass(frozen=True)
class Piece:
    """A part of a stream: a NUT file that `close` deletes. Its video begins `video_s` into the file, and at
    `start_s` on the stream's own clock, in seconds."""

    path: Path
    start_s: float
    video_s: float
    length_s: float
    arrived: float
    """time.monotonic() when it was complete."""
    _open: ExitStack

    def close(self) -> None:
        self._open.close()


@dataclass
class Connection:
    """Output of a receiving thread: pieces, then None; `failed` says why it ended. `lost` counts pieces that
    were not taken in time."""

    pieces: queue.Queue[Piece | None]
    failed: str = ""
    lost: int = 0


@contextmanager
def connected(address: str, piece_s: float, audio_track: int | None = None) -> Iterator[Connection]:
    """Receive a stream in the background while the block runs.

    Raises:
        UsageError: the address is none of a stream.
        SetupError: there is no ffmpeg.
    """
    maps = [] if audio_track is None else ["-map", "0:v:0", "-map", f"0:a:{audio_track}"]
    # After joining a broadcast, nothing is known of the video until the first key frame.
    patient = ["-analyzeduration", "20M", "-probesize", "50M"]
    allowed = ["-protocol_whitelist", f"{protocols(address)},pipe"]
    arguments = [*allowed, *patient, "-i", address, *maps, "-sn", "-dn"]
    arguments += ["-c", "copy", "-flush_packets", "1", "-f", "nut", "pipe:1"]
    connection = Connection(queue.Queue())
    with running(arguments) as (process, complaints):
        assert process.stdout is not None  # noqa: S101 (running pipes it)
        thread = threading.Thread(
            target=_receive, args=(process.stdout, piece_s, connection, complaints), daemon=True
        )
        thread.start()
        try:
            yield connection
        finally:
            process.kill()
            thread.join(SILENT_S)
            while not connection.pieces.empty():
                if piece := connection.pieces.get():
                    piece.close()


def _receive(stream: IO[bytes], piece_s: float, connection: Connection, complaints: Any) -> None:
    try:
        with av.open(stream, format="nut") as container:
            if not container.streams.video or not container.streams.audio:
                raise MediaError("the stream has no video, or no audio")
            for piece in _pieces(container, piece_s):
                connection.pieces.put(piece)
                while connection.pieces.qsize() > AHEAD:
                    with suppress(queue.Empty):
                        if old := connection.pieces.get_nowait():
                            old.close()
                            connection.lost += 1
    except (FFmpegError, AvsyncError, OSError, ValueError) as error:
        connection.failed = str(error)
    finally:
        said = complaints()
        connection.failed = said[-1] if said else connection.failed or "it ended"
        connection.pieces.put(None)


def _pieces(container: Any, piece_s: float) -> Iterator[Piece]:
    """Cut at the first key frame at least `piece_s` after the last cut, once its audio has arrived."""
    video, audio = container.streams.video[0], container.streams.audio[0]
    seen: list[Any] = []
    heard: list[Any] = []
    begin_s: float | None = None
    cut_s: float | None = None
    for packet in demux(container, video, audio):
        if packet.pts is None or packet.time_base is None:
            continue
        at_s = float(packet.pts * packet.time_base)
        if packet.stream is audio:
            heard.append(packet)
        elif begin_s is None and not packet.is_keyframe:
            continue
        else:
            seen.append(packet)
            if begin_s is None:
                begin_s = at_s
            elif cut_s is None and packet.is_keyframe and at_s - begin_s >= piece_s:
                cut_s = at_s
        if begin_s is not None and at_s - begin_s > LONGEST_S:
            raise MediaError(f"it has had no key frame for {LONGEST_S:g} s")
        # Both streams are far enough: the piece's audio has arrived, or is missing.
        if begin_s is None or cut_s is None or at_s < cut_s + MARGIN_S:
            continue
        cut = next(i for i, p in enumerate(seen) if p.is_keyframe and _s(p) >= cut_s)
        around = [p for p in heard if begin_s - MARGIN_S <= _s(p) < cut_s + MARGIN_S]
        yield _written((video, audio), seen[:cut], around, begin_s, cut_s)
        seen = seen[cut:]
        heard = [p for p in heard if _s(p) >= cut_s - MARGIN_S]
        begin_s, cut_s = cut_s, None


def _s(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def _written(streams: Any, seen: list[Any], heard: list[Any], begin_s: float, cut_s: float) -> Piece:
    """A file of these packets that starts MARGIN_S before its video."""
    keep = ExitStack()
    file, path = keep.enter_context(scratch())
    origin_s = begin_s - MARGIN_S
    with av.open(file, "w", format="nut") as out:
        targets = [out.add_stream_from_template(stream) for stream in streams]
        packets = [(targets[0], p) for p in seen] + [(targets[1], p) for p in heard]
        last: dict[Any, int] = {}
        for target, packet in sorted(packets, key=lambda pair: _dts(pair[1])):
            copy = av.Packet(bytes(packet))
            shift = round(origin_s / packet.time_base)
            dts = (packet.pts if packet.dts is None else packet.dts) - shift
            # The demuxer of NUT makes decoding times up, and repeats one where RTMP rounded them to ms.
            last[target] = max(dts, last[target] + 1) if target in last else dts
            copy.pts, copy.dts = max(packet.pts - shift, last[target]), last[target]
            copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, target
            out.mux_one(copy)
    file.flush()
    return Piece(path, begin_s, MARGIN_S, cut_s - begin_s, time.monotonic(), keep)


def _dts(packet: Any) -> float:
    return float((packet.pts if packet.dts is None else packet.dts) * packet.time_base)
