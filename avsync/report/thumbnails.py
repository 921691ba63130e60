"""A frame of each fault, for the page."""

from __future__ import annotations

import logging
from pathlib import Path

from avsync.core.errors import AvsyncError
from avsync.core.report import Report
from avsync.core.streams import Media
from avsync.media.frames import frames
from avsync.media.images import encoded
from avsync.media.probe import probe

log = logging.getLogger(__name__)

LONG_SIDE = 320
"""Pixels."""
MAX_THUMBNAILS = 12
"""Most faults of a file that get a thumbnail."""


def thumbnails(report: Report) -> dict[int, bytes]:
    """JPEG images of the frames in the middle of the first faults, by the number of the fault. Empty if the
    file is gone or cannot be read."""
    if not report.faults or not Path(report.path).is_file():
        return {}
    try:
        media = probe(report.path)
        found = {
            n: _frame(media, (f.start_s + f.end_s) / 2) for n, f in enumerate(report.faults[:MAX_THUMBNAILS])
        }
    except (AvsyncError, OSError) as error:
        log.info("no thumbnails of %s: %s", report.path, error)
        return {}
    return {number: image for number, image in found.items() if image is not None}


def _frame(media: Media, time_s: float) -> bytes | None:
    """The frame shown at a time, or shortly after it."""
    for frame in frames(media, long_side=LONG_SIDE, start_s=time_s, end_s=time_s + 1):
        return encoded(frame.image, ".jpg")
    return None
