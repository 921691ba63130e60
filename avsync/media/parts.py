"""Recordings that lie one after the other in a file, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avsync.core.streams import Media, VideoStream


def later(media: Media, by_s: float) -> Media:
    """The same media, presented `by_s` seconds later."""
    return replace(
        media,
        duration_s=media.duration_s + by_s,
        video=media.video and _video_later(media.video, by_s),
        audio=tuple(replace(stream, start_s=stream.start_s + by_s) for stream in media.audio),
        origin_s=media.origin_s - by_s,
        pieces=tuple(replace(piece, shift_s=piece.shift_s + by_s) for piece in media.pieces),
        holes=tuple((first_s + by_s, past_s + by_s) for first_s, past_s in media.holes),
    )


def _video_later(video: VideoStream, by_s: float) -> VideoStream:
    anchors_s = tuple(anchor_s + by_s for anchor_s in video.anchors_s)
    return replace(video, start_s=video.start_s + by_s, anchors_s=anchors_s)


def together(whole: Media, parts: Sequence[Media]) -> Media:
    """The parts, each on the timeline of all, as one. `whole`: the file as its beginning describes it. The
    streams are those of the first part that has any of their kind."""
    video = next((part.video for part in parts if part.video), None)
    audio = next((part.audio for part in parts if part.audio), ())
    anchors_s = [at_s for part in parts if part.video for at_s in (part.video.start_s, *part.video.anchors_s)]
    length_s = max((p.video.start_s + (p.video.duration_s or 0.0) for p in parts if p.video), default=0.0)
    return replace(
        whole,
        duration_s=max(piece.end_s for part in parts for piece in part.pieces),
        video=video and replace(video, duration_s=length_s - video.start_s, anchors_s=tuple(anchors_s[1:])),
        audio=tuple(replace(stream, duration_s=None) for stream in audio),
        origin_s=parts[0].origin_s,
        pieces=tuple(piece for part in parts for piece in part.pieces),
        wild=frozenset().union(*(part.wild for part in parts)),
        holes=tuple(hole for part in parts for hole in part.holes),
        unread_bytes=sum(part.unread_bytes for part in parts),
        parts=tuple(parts),
    )
