"""Times of presentation for video that has none, as H.264 in AVI: a copy gets those at which a decoder shows
the frames, since other containers need them, and muxers guess them from the order in which packets come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from avsync.core.draft import Draft, unwritable
from avsync.core.errors import MediaError
from avsync.core.streams import Media
from avsync.media import blocks
from avsync.media.container import demux, opened
from avsync.media.decode import prepare
from avsync.repair.packets import Contents

CONTAINER, MUXERS = "matroska,webm", ("matroska", "webm")
"""FFmpeg's names of the format in which the time of a packet has a place of its own."""


def needed(media: Media, file: Contents) -> bool:
    """Whether the video has only times of decoding, and its decoder holds frames back to order them."""
    video = media.video
    if video is None or file.container not in ("avi", "asf"):
        return False
    with opened(file.path) as container:
        first = next((p for p in demux(container, container.streams[video.index]) if p.size), None)
    if first is None or first.pts is not None or first.dts is None:
        return False
    return video.start_s + media.origin_s > float(first.dts * first.time_base)


def held_s(path: Path, index: int) -> list[float]:
    """For how many seconds the decoder holds back the frame of each packet of stream `index`; of those that
    it does not decode, as long as the frame before."""
    decoded_s, shown_s = list[float](), dict[int, float]()
    last_s, length_s = 0.0, 0.0
    with opened(path) as container:
        stream = container.streams[index]
        prepare(stream.codec_context)
        for packet in demux(container, stream):
            if packet.size:
                packet.opaque = [len(decoded_s)]
                decoded_s.append(float((packet.dts or 0) * packet.time_base))
                length_s = float((packet.duration or 0) * packet.time_base) or length_s
            for frame in _frames(packet):
                # Those that come after the last packet have no time: they follow one another.
                last_s = last_s + length_s if frame.dts is None else float(frame.dts * frame.time_base)
                if frame.opaque:
                    shown_s[frame.opaque[0]] = last_s
    held = list[float]()
    for number, at_s in enumerate(decoded_s):
        held.append(shown_s[number] - at_s if number in shown_s else held[-1] if held else 0.0)
    return held


def _frames(packet: Any) -> list[Any]:
    """The frames that come with a packet; none where it is damaged."""
    try:
        return packet.decode()
    except FFmpegError:
        return []


def write_held(src: Path, index: int, number: int, made: Draft) -> None:
    """Give stream `number` of a draft in Matroska, whose packets have the times of decoding of stream `index`
    of `src`, those of presentation.

    Raises:
        OutputError: the draft cannot be written.
        MediaError: the source breaks off.
    """
    try:
        later_s = held_s(src, index)
    except FFmpegError as error:
        raise MediaError(f"{src} breaks off ({error}); copy or record it again.") from error
    try:
        fields = [field for field in blocks.time_fields(made.path, CONTAINER) if field.stream == number]
        with os.fdopen(os.dup(made.handle), "r+b") as copy:
            for field, by_s in zip(fields, later_s, strict=False):
                copy.seek(field.place)
                content = copy.read(field.size)
                copy.seek(field.place)
                copy.write(blocks.later(field, content, by_s))
    except OSError as error:
        raise unwritable(made.target, error) from error
