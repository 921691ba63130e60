"""Decode: the frames of a video on one clock, 25 a second.

Every time is in seconds of presentation time as a player shows it (see `Media.origin_s`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from avsync.core.constants import DECODE_LONG_SIDE, FRAME_RATE, FRAME_S
from avsync.core.errors import MediaError
from avsync.core.prefetch import ahead
from avsync.core.records import Frame, Gap
from avsync.core.streams import Media, VideoStream
from avsync.media.clock import LEAP_S
from avsync.media.container import demux, opened
from avsync.media.decode import Damage, decoded, undecodable
from avsync.media.grid import EPSILON_S, grid
from avsync.media.memory import frames_of
from avsync.media.scan import LONGEST_S

AHEAD_BYTES = 8 << 20
"""Size of the buffer of decoded frames: a dozen of the size that faces are detected in."""
EARLY_S = 0.1
"""A frame is shown at most this many seconds before its time: after a pause the old one stays."""
TIE_S = 0.0001
"""Seconds by which frame boundaries alternate; see `_begin_s`."""

Timed = tuple[float, float, Any]
"""(time_s, length_s, frame)."""


def frames(
    media: Media,
    *,
    long_side: int = DECODE_LONG_SIDE,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float], None] | None = None,
    on_gap: Callable[[Gap], None] | None = None,
) -> Iterator[Frame]:
    """Frames at 25 a second, upright, RGB, scaled down (never up) to `long_side` pixels, even sizes.

    Times and errors are those of `shown`. At most AHEAD_BYTES of frames are in memory, so that decoding goes
    on while one is looked at.
    """
    video = _video(media)
    width, height = frame_size(video, long_side)
    depth = max(1, AHEAD_BYTES // (3 * width * height))
    upright = _images(
        shown(media, start_s=start_s, end_s=end_s, progress=progress, on_gap=on_gap), video, long_side
    )
    with closing(ahead(upright, depth)) as images:
        yield from images


def shown(
    media: Media,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float], None] | None = None,
    on_gap: Callable[[Gap], None] | None = None,
) -> Iterator[tuple[float, VideoFrame]]:
    """(time_s, PyAV frame) at 25 a second, as stored but deinterlaced; a frame may come several times.

    Frame i is shown at video.start_s + i / 25, or so after the latest of the video's anchors, and is the
    stored frame nearest in time, so that no frame rate looks late. Only frames in [start_s, end_s) are given.
    `progress` gets the share done, 0..1, and `on_gap` in the end each stretch without new frames, in which
    the one before it stays. The file is closed when the generator is. A file that breaks off yields what
    there is.

    Raises:
        MediaError: there is no video, or none of it can be decoded.
    """
    video = _video(media)
    times = grid((video.start_s, *video.anchors_s), start_s, end_s)
    first_s = next(times, None)
    if first_s is None:
        return
    until_s = media.duration_s if end_s is None else end_s
    seek_s = _seek_point(media, video, first_s)
    damage = Damage(media.holes)
    # A deinterlacer looks at the frames around.
    unseen = None if video.interlaced else partial(_unseen, video, (start_s, end_s))
    try:
        coming: Iterator[Timed] = (
            frames_of(media.recording, first_s, damage)
            if media.recording
            else decoded(media, video.index, damage, seek_s=seek_s, unseen=unseen)
        )
        coming = _progressive(coming) if video.interlaced else coming
        whole = without_leaps(coming, None if seek_s else video.start_s)
        on_grid = _on_grid(whole, video, chain([first_s], times))
        for number, (time_s, frame) in enumerate(on_grid, 1):
            yield time_s, frame
            if progress and number % FRAME_RATE == 0:
                progress(min(1.0, (time_s - first_s) / max(FRAME_S, until_s - first_s)))
    except FFmpegError as error:
        damage.errors.append(error.strerror or str(error))
    if not damage.starts and first_s == video.start_s:
        raise undecodable(f"The video of {media.path}", damage, "no frame was found in it")
    if on_gap:
        for gap in damage.gaps(start_s, end_s):
            on_gap(gap)
    if progress:
        progress(1.0)


def _video(media: Media) -> VideoStream:
    if media.video is None:
        raise MediaError(f"{media.path} has no video, only audio; give a file with video.")
    return media.video


def frame_size(video: VideoStream, long_side: int) -> tuple[int, int]:
    """Width and height of the decoded frames: even, at most `long_side` pixels, never larger than stored."""
    scale = min(1.0, long_side / max(video.width, video.height))
    return max(2, int(video.width * scale) // 2 * 2), max(2, int(video.height * scale) // 2 * 2)


def without_leaps(coming: Iterable[Timed], start_s: float | None) -> Iterator[Timed]:
    """The frames without those that leap ahead of both the one before and the one after by LEAP_S or more.
    `start_s`: when the first is expected, where that is known."""
    before_s = start_s
    held: Timed | None = None
    for timed in coming:
        time_s = timed[0]
        if held is not None:
            if time_s >= held[0]:
                yield held
            held = None
        if before_s is not None and time_s - before_s >= LEAP_S:
            held = timed
        else:
            yield timed
        before_s = time_s
    if held is not None:
        yield held


def _on_grid(
    coming: Iterable[Timed], video: VideoStream, grid_s: Iterator[float]
) -> Iterator[tuple[float, Any]]:
    """The frame nearest in time for each time of the grid, until either end."""
    time_s = next(grid_s, math.inf)
    held: Any = None
    before_s, begin_s = None, 0.0
    length_s = 0.0
    for frame_s, length_s, frame in coming:  # noqa: B007 - the last one is used below
        if before_s is not None and frame_s <= before_s:
            continue
        begin_s = _begin_s(frame_s, before_s, video) - EPSILON_S
        while time_s < begin_s:
            if held is not None:
                yield time_s, held
            time_s = next(grid_s, math.inf)
        if time_s == math.inf:
            return
        held, before_s = frame, frame_s
    usual_s = video.frame_s if video.frame_s <= LONGEST_S else FRAME_S
    end_s = begin_s + max(length_s, usual_s)
    while held is not None and time_s < end_s:
        yield time_s, held
        time_s = next(grid_s, math.inf)


def _begin_s(frame_s: float, before_s: float | None, video: VideoStream) -> float:
    """When the frame at `frame_s` becomes the nearest one.

    A frame that is held until the next is half a frame old on average, so a clip of 10 frames a second would
    look late by tens of ms. So a frame begins halfway to the one before it, but after a long pause at most
    EARLY_S early, and never before its own grid does. Where the grid meets that boundary, as at 12.5 frames a
    second, TIE_S lets the two sides win alternately.
    """
    if before_s is None:
        return frame_s
    length_s = video.frame_s
    turn = TIE_S * (1 - 2 * (round((frame_s - video.start_s) / length_s) % 2))
    begin_s = frame_s - min((frame_s - before_s) / 2, max(EARLY_S, length_s / 2)) - turn
    number = bisect_right(video.anchors_s, frame_s + EPSILON_S)
    return max(begin_s, video.anchors_s[number - 1]) if number else begin_s


def _unseen(
    video: VideoStream,
    limits: tuple[float | None, float | None],
    before_s: float,
    frame_s: float,
    after_s: float,
) -> bool:
    """Whether `_on_grid` gives the frame at `frame_s` at none of the times within the `limits`."""
    if after_s - before_s >= LEAP_S:
        return False
    begin_s, past_s = _begin_s(frame_s, before_s, video), _begin_s(after_s, frame_s, video)
    first_s, last_s = limits
    first_s = begin_s - 2 * EPSILON_S if first_s is None else max(first_s, begin_s - 2 * EPSILON_S)
    last_s = past_s if last_s is None else min(last_s, past_s)
    return next(grid((video.start_s, *video.anchors_s), first_s, last_s), None) is None


def _progressive(coming: Iterable[Timed]) -> Iterator[Timed]:
    """The frames with interlaced ones deinterlaced, at their own times."""
    times: list[tuple[float, float]] = []
    graph: Any = None
    kind = None

    def out() -> Iterator[Timed]:
        while graph is not None and times:
            try:
                frame = graph.vpull()
            except (BlockingIOError, EOFError, FFmpegError):
                return
            yield *times.pop(0), frame

    for time_s, length_s, frame in coming:
        if kind != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                graph.vpush(None)
                yield from out()
            kind = frame.width, frame.height, frame.format.name
            graph, times = _deinterlacer(frame), []
        frame.pts = len(times) if frame.pts is None else frame.pts
        times.append((time_s, length_s))
        graph.vpush(frame)
        yield from out()
    if graph is not None:
        graph.vpush(None)
        yield from out()


def _deinterlacer(frame: VideoFrame) -> Any:
    graph = Graph()
    begin = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    middle = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    begin.link_to(middle)
    middle.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _images(
    coming: Iterable[tuple[float, VideoFrame]], video: VideoStream, long_side: int
) -> Iterator[Frame]:
    """The frames as upright RGB."""
    width, height = frame_size(video, long_side)
    reformatter = VideoReformatter()
    latest, image = None, None
    for time_s, frame in coming:
        if frame is not latest:
            latest, image = frame, rgb(frame, reformatter, (width, height), video.rotation_deg)
        assert image is not None  # noqa: S101 - of the latest frame
        yield Frame(time_s, image)


def rgb(
    frame: VideoFrame, reformatter: VideoReformatter, size: tuple[int, int], rotation_deg: int
) -> npt.NDArray[np.uint8]:
    """A PyAV frame as RGB (height, width, 3) of the `size` (width, height) it is displayed in."""
    width, height = size[::-1] if abs(rotation_deg) % 180 == 90 else size
    scaled = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
    image = cast(npt.NDArray[np.uint8], scaled.to_ndarray())
    turns = round(rotation_deg / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _seek_point(media: Media, video: VideoStream, target_s: float) -> float | None:
    """A container timestamp from which all frames are decoded near `target_s`; None: from the beginning.

    MPEG streams have no index: a seek may land past a key frame, and all until the next would be lost.
    """
    if len(media.pieces) > 1 or media.recording:
        return None
    target = target_s + media.origin_s
    margin = 1 + float(4 / video.fps)
    try:
        with opened(media.path) as container:
            stream = container.streams[video.index]
            while target - margin > media.origin_s + video.start_s:
                container.seek(int((target - margin) * av.time_base))
                packets = demux(container, stream)
                key = next((p for p in packets if p.is_keyframe and p.dts is not None), None)
                if key and key.dts is not None and key.time_base:
                    shown = float((key.dts if key.pts is None else key.pts) * key.time_base)
                    if shown < target - 2 / video.fps:
                        return target - margin
                margin *= 2
    except FFmpegError:
        pass  # Not seekable: reading from the beginning is slower, not wrong.
    return None
