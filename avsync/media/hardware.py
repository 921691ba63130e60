"""Decode the video with a device of the machine, where there is one that can."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice

from av.codec.hwaccel import hwdevices_available

from avsync.core.constants import Hwaccel
from avsync.core.streams import Media
from avsync.media.container import demux, opened
from avsync.media.decode import DEVICE_ERRORS

log = logging.getLogger(__name__)

PROBE_PACKETS = 100
"""A device that gives no frame for this many packets cannot decode the video."""


def on_device(media: Media, asked: Hwaccel) -> Media:
    """The media with the kind of device that will decode its video: the one `asked` for, or with "auto" the
    first that can; unchanged where none can, and for a recording in memory."""
    if media.video is None or media.recording is not None or asked == "off":
        return media
    for kind in hwdevices_available() if asked == "auto" else (asked,):
        if _decodes(media, kind):
            return replace(media, video=replace(media.video, device=kind))
    return media


def _decodes(media: Media, kind: str) -> bool:
    """Whether the device gives a first frame."""
    assert media.video is not None  # noqa: S101 - seen by the caller
    try:
        with opened(media.path, device=kind) as container:
            stream = container.streams[media.video.index]
            for packet in islice(demux(container, stream), PROBE_PACKETS):
                if packet.decode():
                    return bool(stream.codec_context.is_hwaccel)
    except DEVICE_ERRORS as error:
        log.info("%s: %s does not decode it: %s", media.path, kind, error)
    return False
