"""Decoded frames as their stored planes, so that only the parts that are used are converted to RGB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from avsync.core.constants import STORED_LONG_SIDE
from avsync.core.streams import VideoStream
from avsync.media.frames import frame_size
from avsync.media.images import Image, cv2, resize

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
    and `v` of half that size. `matrix` (3, 3) makes RGB, 0..255, of (y, u, v) - `black` (3,)."""

    time_s: float
    y: Plane
    u: Plane
    v: Plane
    matrix: npt.NDArray[np.float32]
    black: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y.shape[0], self.y.shape[1]

    def rgb(self, y: Plane, u: Plane, v: Plane) -> npt.NDArray[np.float32]:
        """Values (h, w) of the three planes as RGB (h, w, 3), 0..255."""
        values = np.stack([y, u, v], axis=-1).astype(np.float32) - self.black
        return np.asarray(np.clip(values @ self.matrix.T, 0, 255), np.float32)

    def thumbnail(self, width: int, height: int) -> npt.NDArray[np.float32]:
        """A very small copy: RGB (height, width, 3), 0..255."""
        return self.rgb(*(resize(plane, width, height) for plane in (self.y, self.u, self.v)))

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
    """`media.frames.shown` as planes, scaled down (never up) to STORED_LONG_SIDE pixels."""
    reformatter = VideoReformatter()
    latest: VideoFrame | None = None
    made: Any = None
    for time_s, frame in coming:
        if frame is not latest:
            latest, made = frame, _planes(frame, video, reformatter)
        yield Planes(time_s, *made)


def _planes(frame: VideoFrame, video: VideoStream, reformatter: VideoReformatter) -> tuple[Any, ...]:
    conversion = _conversion(frame)
    sideways = abs(video.rotation_deg) % 180 == 90
    width, height = (video.height, video.width) if sideways else (video.width, video.height)
    if (
        frame.format.name not in PLAIN
        or (frame.width, frame.height) != (width, height)
        or max(width, height) > STORED_LONG_SIDE
    ):
        width, height = frame_size(video, STORED_LONG_SIDE)
        width, height = (height, width) if sideways else (width, height)
        kind = "yuvj420p" if frame.color_range == FULL_RANGE else "yuv420p"
        kind = "yuv420p" if frame.format.is_rgb else kind
        frame = reformatter.reformat(frame, width, height, kind, interpolation=Interpolation.AREA)
    parts = [_array(plane) for plane in frame.planes]
    if turns := round(video.rotation_deg / 90) % 4:
        parts = [np.ascontiguousarray(np.rot90(part, turns)) for part in parts]
    return *parts, *conversion


def _array(plane: Any) -> Plane:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _conversion(frame: VideoFrame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """`Planes.matrix` and `Planes.black` of a frame."""
    red, blue = LUMA_SHARES.get(int(frame.colorspace), BT601)
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    luma, chroma, black = (1.0, 1.0, 0.0) if full else (255 / 219, 255 / 224, 16.0)
    green = 1 - red - blue
    of_v, of_u = 2 * (1 - red), 2 * (1 - blue)
    matrix = [[1, 0, of_v], [1, -of_u * blue / green, -of_v * red / green], [1, of_u, 0]]
    scale = [luma, chroma, chroma]
    return np.array(matrix, np.float32) * np.array(scale, np.float32), np.array([black, 128, 128], np.float32)
