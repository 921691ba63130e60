"""Decoded frames as their stored planes, so that only the parts that are used are converted to RGB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from avsync.core.constants import DECODE_LONG_SIDE
from avsync.core.streams import VideoStream
from avsync.media.frames import frame_size
from avsync.media.images import Image, cv2, resize, thumbnail

Plane = npt.NDArray[np.uint8]

PLAIN = ("yuv420p", "yuvj420p")
"""Pixel formats whose planes are used as they are."""
LUMA_SHARES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Shares of red and blue in the luma, by FFmpeg's number of the colour space."""
BT601 = (0.299, 0.114)
FULL_RANGE = 2


@dataclass(frozen=True)
class Planes:
    """A frame shown at `time_s`, upright and with square pixels: luma `y` uint8 (height, width), chroma `u`
    and `v` of half that size. `to_rgb` (3, 4) makes RGB, 0..255, of (y, u, v, 1)."""

    time_s: float
    y: Plane
    u: Plane
    v: Plane
    to_rgb: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y.shape[0], self.y.shape[1]

    def rgb(self, y: Plane, u: Plane, v: Plane) -> Image:
        """Values (h, w) of the three planes as RGB (h, w, 3)."""
        return np.asarray(cv2.transform(cv2.merge((y, u, v)), self.to_rgb), np.uint8)

    def thumbnail(self, width: int, height: int) -> Image:
        """A very small copy: RGB (height, width, 3)."""
        return self.rgb(*(thumbnail(plane, width, height) for plane in (self.y, self.u, self.v)))

    def small(self, long_side: int) -> Image:
        """RGB (h, w, 3) with at most `long_side` pixels, for a face detector: the colours are about right."""
        scale = min(1.0, long_side / max(self.shape))
        height, width = (max(2, int(side * scale) // 2 * 2) for side in self.shape)
        whole = np.empty((height * 3 // 2, width), np.uint8)
        whole[:height] = resize(self.y, width, height)
        half = whole[height:].reshape(-1)
        for part, plane in zip(np.split(half, 2), (self.u, self.v), strict=True):
            part[:] = resize(plane, width // 2, height // 2).ravel()
        return np.asarray(cv2.cvtColor(whole, cv2.COLOR_YUV2RGB_I420), np.uint8)


def planes(coming: Iterable[tuple[float, VideoFrame]], video: VideoStream) -> Iterator[Planes]:
    """`media.frames.shown` as planes, scaled down (never up) to DECODE_LONG_SIDE pixels. A frame that looks
    exactly like the one before it has the same arrays."""
    reformatter = VideoReformatter()
    latest: VideoFrame | None = None
    made: Any = None
    for time_s, frame in coming:
        if frame is not latest:
            now = _planes(frame, video, reformatter)
            latest, made = frame, made if made and _alike(made, now) else now
        yield Planes(time_s, *made)


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two frames are the same; nearly all that are not differ in the middle row of their luma."""
    row = slice(len(one[0]) // 2, len(one[0]) // 2 + 1)
    return np.array_equal(one[0][row], other[0][row]) and all(
        np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


def _planes(frame: VideoFrame, video: VideoStream, reformatter: VideoReformatter) -> tuple[Any, ...]:
    kind, full = frame.format.name, frame.color_range == FULL_RANGE
    conversion = _conversion(int(frame.colorspace), full, kind)
    sideways = abs(video.rotation_deg) % 180 == 90
    width, height = (video.height, video.width) if sideways else (video.width, video.height)
    if (
        kind not in PLAIN
        or (frame.width, frame.height) != (width, height)
        or max(width, height) > DECODE_LONG_SIDE
    ):
        width, height = frame_size(video, DECODE_LONG_SIDE)
        width, height = (height, width) if sideways else (width, height)
        kind = "yuvj420p" if full and not frame.format.is_rgb else "yuv420p"
        frame = reformatter.reformat(frame, width, height, kind, interpolation=Interpolation.AREA)
    parts = [_array(plane) for plane in frame.planes]
    if turns := round(video.rotation_deg / 90) % 4:
        parts = [np.ascontiguousarray(np.rot90(part, turns)) for part in parts]
    return *parts, conversion


def _array(plane: Any) -> Plane:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


@lru_cache(maxsize=8)
def _conversion(colorspace: int, full: bool, kind: str) -> npt.NDArray[np.float32]:
    """`Planes.to_rgb` of frames of a colour space, in full range or not, in a pixel format."""
    red, blue = LUMA_SHARES.get(colorspace, BT601)
    full = full or kind.startswith("yuvj")
    luma, chroma, black = (1.0, 1.0, 0.0) if full else (255 / 219, 255 / 224, 16.0)
    green = 1 - red - blue
    of_v, of_u = 2 * (1 - red), 2 * (1 - blue)
    matrix = np.array([[1, 0, of_v], [1, -of_u * blue / green, -of_v * red / green], [1, of_u, 0]])
    scaled = matrix * [luma, chroma, chroma]
    return np.column_stack([scaled, -scaled @ [black, 128, 128]]).astype(np.float32)
