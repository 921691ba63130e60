"""Decode: the pictures of a video on one clock, 25 a second.

Every time is in seconds of presentation time as a player shows it (see `Media.origin_s`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import IO, Any

import av
import ffmpeg
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from avsync.core.constants import DECODE_LONG_SIDE, FRAME_RATE
from avsync.core.errors import MediaError
from avsync.core.prefetch import ahead
from avsync.core.records import Frame, Media, Span, VideoStream
from avsync.media.damage import undecoded
from avsync.media.ffmpeg import decoding, source

AHEAD_BYTES = 8 << 20
"""Of decoded pictures that nobody has asked for yet: a dozen of the size that faces are sought in."""
EARLY_US = 100_000
"""Microseconds that a picture is shown before its time at most: after a pause the old one stays."""
TIE_US = 100
"""Microseconds by which frame boundaries are moved to and fro, see `_nearest`."""


def frames(
    media: Media,
    *,
    long_side: int = DECODE_LONG_SIDE,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float], None] | None = None,
    on_gap: Callable[[Span], None] | None = None,
) -> Iterator[Frame]:
    """Pictures at 25 a second, upright, scaled down (never up) to `long_side` pixels, even sizes.

    Frame i of the video is shown at video.start_s + i / 25 and is the stored picture nearest in time, so that
    no frame rate looks late. Only frames in [start_s, end_s) are given. `progress` gets the share done, 0..1,
    and `on_gap` in the end each stretch that could not be decoded, in which the picture before it stays.
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
        if on_gap and complaint():
            for span in undecoded(media, video.index, start_s, end_s):
                on_gap(span)
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
