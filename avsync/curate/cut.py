"""Cut a stretch out of a video: the face, and its audio in sync."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_RATE, SAMPLE_RATE, STORED_LONG_SIDE
from avsync.core.errors import MediaError
from avsync.core.records import Frame, Waveform
from avsync.core.streams import Media
from avsync.curate.select import Stretch
from avsync.media.encode import write_video
from avsync.media.frames import frames
from avsync.media.images import Image, cv2

SIZE = 160
"""Width and height of a clip in pixels, as in LRS2."""
ROOM = 1.5
"""Side of the crop in face heights."""


def cut(media: Media, audio: Waveform, stretch: Stretch, target: Path) -> Path:
    """Write `stretch` as an MP4 of 160 x 160 pixels around the face at 25 frames a second, with 16 kHz audio
    corrected by the stretch's offset.

    Raises:
        MediaError: the video cannot be decoded.
        OutputError: the clip cannot be written.
    """
    coming = frames(media, long_side=STORED_LONG_SIDE, start_s=stretch.start_s, end_s=stretch.end_s)
    first = next(coming, None)
    if first is None:
        raise MediaError(f"{media.path} has no frame from {stretch.start_s:g} to {stretch.end_s:g} s.")
    # The audio must begin with the first actual frame, which may be later than the stretch.
    samples = corrected(audio, first.time_s, stretch.end_s, stretch.offset_ms)
    faces = _faces(chain([first], coming), stretch)
    return write_video(target, faces, (SIZE, SIZE), Fraction(FRAME_RATE), samples, SAMPLE_RATE)


def corrected(audio: Waveform, start_s: float, end_s: float, offset_ms: float) -> npt.NDArray[np.float32]:
    """The audio that belongs to the frames in [start_s, end_s), float32 (n,); silence where there is none."""
    first = round((start_s - offset_ms / 1000 - audio.start_s) * SAMPLE_RATE)
    count = round((end_s - start_s) * SAMPLE_RATE)
    wanted = np.arange(first, first + count)
    inside = (wanted >= 0) & (wanted < len(audio.samples))
    samples = np.zeros(count, np.float32)
    samples[inside] = audio.samples[wanted[inside]]
    return samples


def _faces(coming: Iterable[Frame], stretch: Stretch) -> Iterator[Image]:
    """Crops around the face, (160, 160, 3) RGB, of constant size, so that the face does not pulsate as boxes
    do."""
    at_s, *edges = np.array(stretch.boxes).T
    side = ROOM * float(np.median(edges[3] - edges[1]))
    for frame in coming:
        height, width = frame.image.shape[:2]
        x1, y1, x2, y2 = (float(np.interp(frame.time_s, at_s, edge)) for edge in edges)
        yield square(frame.image, (x1 + x2) / 2 * width, (y1 + y2) / 2 * height, side * height)


def square(image: Image, x: float, y: float, side: float) -> Image:
    """The square of `side` pixels around (x, y), resized to 160 x 160; the image's edge is repeated beyond
    it."""
    scale = SIZE / side
    matrix = np.array([[scale, 0, SIZE / 2 - scale * x - 0.5], [0, scale, SIZE / 2 - scale * y - 0.5]])
    matrix[:, 2] += 0.5 * scale  # pixel centres lie at .5
    if scale < 0.5:  # average first, since interpolation alone would skip pixels
        image = cast(Image, cv2.blur(image, (round(1 / scale), round(1 / scale))))
    cut_out = cv2.warpAffine(
        image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cast(Image, cut_out)
