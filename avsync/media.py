"""Probe and decode: which streams a file holds, when each starts, and its pictures on one clock.

Every time is in seconds of presentation time as a player shows it (see `Media.origin_s`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import IO, Any

import av
import ffmpeg
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from avsync.ahead import ahead
from avsync.errors import MediaError
from avsync.program import decoding, ffmpeg_path, source
from avsync.records import AudioStream, Frame, Media, VideoStream
from avsync.settings import DECODE_LONG_SIDE, FRAME_RATE

__all__ = ["ffmpeg_path", "frame_size", "frames", "probe", "source"]

MIN_SIDE = 16
"""Pixels; a smaller picture holds no face."""
PROBE_PACKETS = 5000
"""Packets read at most to find the first picture and sound of every stream."""
AHEAD_BYTES = 8 << 20
"""Of decoded pictures that nobody has asked for yet: a dozen of the size that faces are sought in."""
MAX_FPS = Fraction(240)
"""A higher stored average is a time base, not a frame rate (browsers record such WebM files)."""
EARLY_US = 100_000
"""Microseconds that a picture is shown before its time at most: after a pause the old one stays."""
TIE_US = 100
"""Microseconds by which frame boundaries are moved to and fro, see `_nearest`."""


# --- Probe -------------------------------------------------------------------------------


def probe(path: Path | str) -> Media:
    """What a file holds and when each stream starts.

    Raises:
        MediaError: the file is missing, no media, incomplete, a still picture, or too small to hold a face.
    """
    path = Path(path)
    _require_file(path)
    try:
        with av.open(source(path)) as container:
            media = _describe(path, container)
        if media.duration_s <= 0:
            media = _with_scanned_duration(media)
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_unreadable(path, error)) from error
    if media.video is None and not media.audio:
        raise MediaError(f"{path} holds neither picture nor sound; give a video file.")
    if media.video is not None and min(media.video.width, media.video.height) < MIN_SIDE:
        size = f"{media.video.width}x{media.video.height}"
        raise MediaError(
            f"The picture of {path} is only {size} pixels, too small to show a face; give a larger video."
        )
    return media


def _require_file(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors="replace")
        raise MediaError(f"The name {shown} is not valid text on this system; rename it.") from error
    try:
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the name.")
        if path.is_dir():
            raise MediaError(f"{path} is a directory; give a video file.")
        if not path.is_file():
            raise MediaError(f"{path} is not a regular file; save it as a file first.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes); copy or record it again.")
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be opened ({error}); check its name and permissions.") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} may not be read; change its permissions."
    with path.open("rb") as file:
        box = file.read(12)[4:8]
    if box in (b"ftyp", b"mdat", b"wide", b"free"):
        return f"{path} is incomplete: its index (moov) is missing or broken; copy or record it again."
    return f"{path} is not a video or audio file that ffmpeg can read; check that it is the right file."


def _describe(path: Path, container: InputContainer) -> Media:
    kind = container.format.name
    if kind in ("image2", "tty") or kind.endswith("_pipe"):
        raise MediaError(f"{path} is a still picture or a text, not a video; give a video file.")
    # MPEG-TS and MPEG-PS count from an arbitrary number; players take their first moment as zero.
    arbitrary = bool(container.format.flags & Flags.ts_discont.value)
    origin = container.start_time / av.time_base if arbitrary and container.start_time else 0.0
    pictures = [
        s for s in container.streams.video if s.codec_context and not s.disposition & Disposition.attached_pic
    ]
    pictures.sort(key=lambda s: not s.disposition & Disposition.default)
    sounds = [s for s in container.streams.audio if s.codec_context]
    first = _first_frames(container, pictures[:1] + sounds)
    duration = container.duration
    end = ((container.start_time or 0) + duration) / av.time_base - origin if duration else 0.0
    return Media(
        path=path,
        container=kind,
        duration_s=max(0.0, end),
        video=_video_stream(path, pictures[0], first, origin) if pictures else None,
        audio=tuple(_audio_stream(s, track, first, origin) for track, s in enumerate(sounds)),
        stream_kinds=tuple(_kind(s) for s in container.streams),
        origin_s=origin,
    )


def _kind(stream: Stream) -> str:
    return "attachment" if stream.disposition & Disposition.attached_pic else stream.type


def _first_frames(container: InputContainer, streams: list[Any]) -> dict[int, Any]:
    """First decoded frame by stream number, where one comes soon enough. Its time is what a player presents:
    edit lists applied, codec priming and pictures before the first key frame left out."""
    first: dict[int, Any] = {}
    for count, packet in enumerate(container.demux(streams) if streams else ()):
        if count > PROBE_PACKETS or len(first) == len(streams):
            break
        if packet.stream.index in first:
            continue
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        if frames:
            first[packet.stream.index] = frames[0]
    return first


def _start_s(stream: Any, first: dict[int, Any], origin: float) -> float:
    frame = first.get(stream.index)
    if frame is not None and frame.pts is not None:
        return float(frame.pts * frame.time_base) - origin
    return float((stream.start_time or 0) * stream.time_base) - origin


def _duration_s(stream: Any) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration else None


def _video_stream(path: Path, stream: Any, first: dict[int, Any], origin: float) -> VideoStream:
    frame: VideoFrame | None = first.get(stream.index)
    rotation = frame.rotation if frame else 0
    width, height = (frame.width, frame.height) if frame else (stream.width, stream.height)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if Fraction(1, 5) < aspect < 5:
        width = max(1, round(width * aspect))
    if abs(rotation) % 180 == 90:
        width, height = height, width
    fps = stream.average_rate
    return VideoStream(
        index=stream.index,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        fps=fps if fps and fps <= MAX_FPS else _measured_fps(path, stream.index),
        start_s=_start_s(stream, first, origin),
        duration_s=_duration_s(stream),
        rotation_deg=rotation,
        interlaced=bool(frame and frame.interlaced_frame),
    )


def _audio_stream(stream: Any, track: int, first: dict[int, Any], origin: float) -> AudioStream:
    return AudioStream(
        index=stream.index,
        track=track,
        codec=stream.codec_context.name,
        rate_hz=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        start_s=_start_s(stream, first, origin),
        duration_s=_duration_s(stream),
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        default=bool(stream.disposition & Disposition.default),
    )


def _measured_fps(path: Path, index: int) -> Fraction:
    """Average rate over the first 250 pictures, for files that do not tell; 25 where it cannot be told."""
    with av.open(source(path)) as container:
        stream = container.streams[index]
        times = [
            p.pts for _, p in zip(range(250), container.demux(stream), strict=False) if p.pts is not None
        ]
        span = (max(times) - min(times)) * (stream.time_base or 0) if times else 0
    return Fraction((len(times) - 1) / span).limit_denominator(1001) if span else Fraction(FRAME_RATE)


def _with_scanned_duration(media: Media) -> Media:
    """Live recordings store no duration: read to the last packet (nothing is decoded)."""
    end = 0.0
    with av.open(source(media.path)) as container:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return replace(media, duration_s=max(0.0, end - media.origin_s))


# --- Pictures ----------------------------------------------------------------------------


def frames(
    media: Media,
    *,
    long_side: int = DECODE_LONG_SIDE,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Frame]:
    """Pictures at 25 a second, upright, scaled down (never up) to `long_side` pixels, even sizes.

    Frame i of the video is shown at video.start_s + i / 25 and is the stored picture nearest in time, so that
    no frame rate looks late. Only frames in [start_s, end_s) are given. `progress` gets the share done, 0..1.
    At most AHEAD_BYTES of pictures are in memory, so that decoding goes on while one is looked at; ffmpeg is
    stopped when the generator is closed. A file that breaks off yields what there is.

    Raises:
        MediaError: there is no video, or none of it can be decoded.
    """
    video = media.video
    if video is None:
        raise MediaError(f"{media.path} has no video, only sound; give a file with a picture.")
    first = _grid_index(video, start_s, 0)
    stop = _grid_index(video, end_s, None)
    total = (stop or math.ceil((media.duration_s - video.start_s) * FRAME_RATE)) - first
    width, height = frame_size(video, long_side)
    seek_s = _seek_point(media, video, video.start_s + first / FRAME_RATE)
    index = first
    with decoding(_frame_output(media, video, (width, height), first, seek_s)) as (pipe, complaint):
        count = None if stop is None else max(0, stop - first)
        depth = max(1, AHEAD_BYTES // (3 * width * height))
        with closing(ahead(islice(_images(pipe, (height, width, 3)), count), depth)) as images:
            for image in images:
                yield Frame(video.start_s + index / FRAME_RATE, image)
                index += 1
                if progress and (index - first) % FRAME_RATE == 0:
                    progress(min(1.0, (index - first) / max(1, total)))
        if index == 0 and stop != 0:
            why = complaint() or "ffmpeg found no picture in it"
            raise MediaError(
                f"The video of {media.path} cannot be decoded ({why}); copy or convert it again."
            )
    if progress:
        progress(1.0)


def _images(pipe: IO[bytes], shape: tuple[int, int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Raw pictures as they come; a broken last one is dropped."""
    while True:
        image = np.empty(shape, np.uint8)
        if pipe.readinto(memoryview(image).cast("B")) < image.nbytes:  # type: ignore[attr-defined]
            return
        yield image


def frame_size(video: VideoStream, long_side: int) -> tuple[int, int]:
    """Width and height of the decoded picture: even, at most `long_side` pixels, never larger than stored."""
    scale = min(1.0, long_side / max(video.width, video.height))
    return max(2, int(video.width * scale) // 2 * 2), max(2, int(video.height * scale) // 2 * 2)


def _grid_index(video: VideoStream, time_s: float | None, otherwise: Any) -> Any:
    """Number of the first frame of the grid that is shown at or after `time_s`."""
    if time_s is None:
        return otherwise
    # The grid's own times must map to themselves in spite of rounding.
    return max(0, math.ceil((time_s - video.start_s) * FRAME_RATE - 1e-6))


def _frame_output(
    media: Media, video: VideoStream, size: tuple[int, int], first: int, seek_s: float | None
) -> Any:
    """The ffmpeg-python graph from the file to raw RGB on standard output, from frame `first` of the grid."""
    # Kept timestamps are the container's own, so a seek moves nothing. Without reinit_filter=0 a change of
    # picture size in mid-stream starts the filters anew, and they would fill the time before it once more.
    options: dict[str, Any] = {"copyts": None, "reinit_filter": 0}
    if seek_s is not None:
        options |= {"noaccurate_seek": None, "seek_timestamp": 1, "ss": f"{seek_s:.6f}"}
    picture = ffmpeg.input(source(media.path), **options)[str(video.index)]
    if video.interlaced:
        # Stretched sideways only, so fields stay apart; the fixed size is for streams that change theirs.
        picture = picture.filter("scale", video.width, video.height)
        picture = picture.filter("bwdif", mode="send_frame", deint="interlaced")
    picture = (
        picture.filter("settb", "AVTB")
        .filter("setpts", _nearest(media, video))
        .filter("fps", FRAME_RATE, start_time=first / FRAME_RATE, round="up")
        .filter("setpts", "N")
        .filter("scale", *size, flags="area")
        .filter("format", "rgb24")
    )
    return picture.output("pipe:", format="rawvideo")


def _nearest(media: Media, video: VideoStream) -> str:
    """Timestamps (ffmpeg expression, microseconds from the video's start) that make the fps filter, which
    holds each picture until the next, give the NEAREST picture.

    A held picture is half a frame old on average, so a clip of 10 frames a second would look late by tens
    of ms. So a picture starts halfway to the one before it, but after a long pause at most EARLY_US early.
    Where the grid meets that boundary, as at 12.5 frames a second, TIE_US lets either side win by turns.
    """
    frame_us = round(1e6 / video.fps)
    start_us = round((media.origin_s + video.start_s) * 1e6)
    half = f"min((PTS-PREV_INPTS)/2,{max(EARLY_US, frame_us // 2)})"
    turn = f"{TIE_US}*(1-2*mod(round(PTS/{frame_us}),2))"
    return f"PTS-{start_us}-if(isnan(PREV_INPTS),0,{half}+{turn})"


def _seek_point(media: Media, video: VideoStream, target_s: float) -> float | None:
    """A container timestamp from which ffmpeg decodes all pictures near `target_s`; None: from the beginning.

    MPEG streams have no index: a seek may land past a key frame, and all until the next would be lost.
    """
    target = target_s + media.origin_s
    margin = 1 + float(4 / video.fps)
    try:
        with av.open(source(media.path)) as container:
            stream = container.streams[video.index]
            while target - margin > media.origin_s + video.start_s:
                container.seek(int((target - margin) * av.time_base))
                packets = container.demux(stream)
                key = next((p for p in packets if p.is_keyframe and p.dts is not None), None)
                if key and key.dts is not None and key.time_base:
                    shown = float((key.dts if key.pts is None else key.pts) * key.time_base)
                    if shown < target - 2 / video.fps:
                        return target - margin
                margin *= 2
    except FFmpegError:
        pass  # Not seekable: reading from the beginning is slower, not wrong.
    return None
