"""Which stretches of a stream cannot be decoded, as in a file whose middle is corrupt.

ffmpeg puts silence, the picture before, or its best guess into their place, and complains without a time. So
where it complained, the stream is decoded once more to see where nothing sound comes out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError

from avsync.core.records import Media, Span
from avsync.media.ffmpeg import source

LEAST_S = 0.06
"""Seconds; a shorter gap is one lost frame, which changes no answer."""
PAUSE = 2.0
"""Files of varying frame rate pause by themselves: a gap is longer than their usual one by this factor."""
LEAD_S = 1.0
"""Decoding begins so much before the stretch that is asked for."""

Times = npt.NDArray[np.float64]


def undecoded(
    media: Media, index: int, start_s: float | None = None, end_s: float | None = None
) -> tuple[Span, ...]:
    """The stretches in [start_s, end_s) of stream number `index` in which no frame comes out whole.

    Seconds of presentation time, in order. What comes before the first frame is no gap: a recording may begin
    in the middle of a group of pictures.
    """
    low = -math.inf if start_s is None else start_s + media.origin_s
    high = math.inf if end_s is None else end_s + media.origin_s
    try:
        with av.open(source(media.path)) as container:
            found = gaps(*_whole_frames(container, index, low, high))
    except (FFmpegError, OSError):
        return ()
    return tuple(
        (max(first, low) - media.origin_s, min(past, high) - media.origin_s)
        for first, past in found
        if past > low and first < high
    )


def gaps(starts: Times, ends: Times, last_s: float) -> list[Span]:
    """The stretches between frames that last from `starts` to `ends` (n,), and after them until `last_s`,
    that are longer than usual there."""
    if not len(starts):
        return []
    ends = np.maximum.accumulate(ends)
    pauses = np.append(starts[1:], last_s) - ends
    long = pauses > max(LEAST_S, PAUSE * float(np.percentile(pauses, 95)))
    return [(float(end), float(end + pause)) for end, pause in zip(ends[long], pauses[long], strict=True)]


def _whole_frames(
    container: InputContainer, index: int, low: float, high: float
) -> tuple[Times, Times, float]:
    """Starts and ends of the frames without a flaw, from about `low` to `high`, and the end of the last
    packet that was read: all in the container's own seconds."""
    stream: Any = container.streams[index]
    stream.codec_context.thread_type = "AUTO"
    if math.isfinite(low):
        container.seek(max(0, int((low - LEAD_S) * av.time_base)))
    starts, ends, last_s = array("d"), array("d"), -math.inf
    for packet, frames in _decoded(container, stream):
        if packet.pts is not None:
            last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        for frame in frames:
            if frame.pts is not None and not frame.is_corrupt:
                starts.append(float(frame.pts * frame.time_base))
                ends.append(starts[-1] + _length_s(frame))
        if starts and starts[-1] > high:
            last_s = starts[-1]
            break
    return np.array(starts), np.array(ends), last_s


def _decoded(container: InputContainer, stream: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each packet with the frames that came out at it, as far as the container can be read."""
    try:
        for packet in container.demux(stream):
            try:
                yield packet, packet.decode()
            except FFmpegError:
                yield packet, []
    except FFmpegError:
        return


def _length_s(frame: Any) -> float:
    samples = getattr(frame, "samples", 0)
    return samples / frame.sample_rate if samples else float((frame.duration or 0) * frame.time_base)
