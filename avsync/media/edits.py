"""Edit lists of MP4 and MOV: when frames are presented, where FFmpeg's demuxer has other times."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from avsync.media.container import demux, opened
from avsync.media.fragments import demuxer_delay
from avsync.media.scan import LONGEST_S

PACKETS = 5000
"""Packets among which the first frame that is shown is looked for."""


def late_s(path: Path, window: tuple[int, int] | None, index: int) -> float:
    """`VideoStream.late_s` of a stream of MP4 or MOV: by how much an edit list has the first frame that is
    shown whole later than its demuxer, or composition offsets in fragments have all frames earlier."""
    with opened(path, window) as container:
        stream = container.streams[index]
        delay = demuxer_delay(path, stream.id)
        if delay and (early_s := float(delay * (stream.time_base or 0))) < LONGEST_S:
            return -early_s
        packets = islice(demux(container, stream), PACKETS)
        shown = next((p for p in packets if p.pts is not None and not p.is_discard), None)
    if shown is None:
        return 0.0
    with opened(path, window, advanced_editlist="0") as container:
        packets = islice(demux(container, container.streams[index]), PACKETS)
        same = next((p for p in packets if p.pos == shown.pos and p.pts is not None), None)
    if same is None or same.pts is None or shown.pts is None:
        return 0.0
    by_s = float((same.pts - shown.pts) * shown.time_base)
    # More than a frame is a list of several edits, which this does not understand.
    return by_s if 0 < by_s <= float((shown.duration or 0) * shown.time_base) else 0.0


def hidden_s(path: Path, window: tuple[int, int] | None, index: int) -> float:
    """Seconds of a stream's first packet that an edit list hides, as of a time code track that is cut."""
    with opened(path, window, advanced_editlist="0") as container:
        packets = islice(demux(container, container.streams[index]), 1)
        return max(0.0, *(-float(p.pts * p.time_base) for p in packets if p.pts is not None), 0.0)
