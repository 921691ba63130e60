"""Cut the mouth crops that the models look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FACE_SIZE, FRAME_RATE, WHOLE_FACE_SIZE, WINDOW_FRAMES
from avsync.core.records import Clip
from avsync.media.images import Image, cv2, resize

OVERLAP = WINDOW_FRAMES - 1
"""Frames that the pieces of a long clip share, so that no window is lost."""
PADDING = 0.4
"""Of half the face box's longer side: room around the face, as SyncNet's own cropping leaves it."""


@dataclass
class Roll:
    """The crops of track `number`, which begins at `start_s`, that are not yet handed on. `first` is the
    track's frame number of mouths[0], `fresh` how many of them no clip has had."""

    number: int
    start_s: float
    first: int = 0
    fresh: int = 0
    mouths: list[Image] = field(default_factory=list)

    def clip(self, *, whole: bool) -> Clip:
        """A clip of all of them; `whole`: they are all of their stretch."""
        return Clip(self.number, self.start_s + self.first / FRAME_RATE, np.stack(self.mouths), whole)

    def handed_on(self) -> Clip:
        """A clip of all of them; those that the next clip shares with it are kept."""
        clip = self.clip(whole=False)
        self.keep(OVERLAP)
        return clip

    def take(self, number: int, mouth: Image) -> None:
        if not self.mouths:
            self.first = number
        self.mouths.append(mouth)
        self.fresh += 1

    def keep(self, count: int) -> None:
        """Forgets all but the last `count` crops."""
        dropped = len(self.mouths) - count
        self.mouths, self.first, self.fresh = self.mouths[dropped:], self.first + dropped, 0


def rest(roll: Roll) -> Iterator[Clip]:
    """The last piece of a stretch, unless it holds no window that is not yet handed on."""
    if roll.fresh and len(roll.mouths) >= WINDOW_FRAMES:
        yield roll.clip(whole=roll.fresh == len(roll.mouths))
    roll.keep(0)


def crop(image: Image, box: npt.NDArray[np.float32], *, top: int = 0, margin: int = 0) -> Image:
    """Rows `top`..95 of the face box resized to 96x96: uint8 (96 - top, 96, 3), or with `margin` more pixels
    on every side.

    `image` (height, width, 3); `box` x1, y1, x2, y2 as fractions of it. Beyond the image its edge is
    repeated.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (box.astype(np.float64) * [width, height, width, height]).tolist()
    box_w, box_h = max(1.0, x2 - x1), max(1.0, y2 - y1)
    x1, x2 = x1 - box_w * margin / FACE_SIZE, x2 + box_w * margin / FACE_SIZE
    y1_part, y2 = y1 + box_h * (top - margin) / FACE_SIZE, y2 + box_h * margin / FACE_SIZE
    margin_x, margin_y = 2 * box_w / FACE_SIZE + 2, 2 * box_h / FACE_SIZE + 2
    left, right = _bounds(x1 - margin_x, x2 + margin_x, width)
    upper, lower = _bounds(y1_part - margin_y, y2 + margin_y, height)
    part = image[upper:lower, left:right]
    x1, y1_part = x1 - left, y1_part - upper
    scale_x, scale_y = FACE_SIZE / box_w, FACE_SIZE / box_h
    if min(scale_x, scale_y) < 0.5:
        # First averaged down to 1.5 times the target: interpolation alone would skip pixels.
        wide = max(1, round(part.shape[1] * min(1.0, 1.5 * scale_x)))
        high = max(1, round(part.shape[0] * min(1.0, 1.5 * scale_y)))
        by_x, by_y = wide / part.shape[1], high / part.shape[0]
        part = resize(part, wide, high)
        x1, y1_part, scale_x, scale_y = x1 * by_x, y1_part * by_y, scale_x / by_x, scale_y / by_y
    # Pixel centres lie at .5, so that the crop does not move with the size of the image.
    matrix = np.array(
        [[scale_x, 0, (0.5 - x1) * scale_x - 0.5], [0, scale_y, (0.5 - y1_part) * scale_y - 0.5]]
    )
    size = (FACE_SIZE + 2 * margin, FACE_SIZE - top + 2 * margin)
    face = cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.uint8, copy=False)


def _bounds(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels around low..high, at least one of them, inside 0..size."""
    first = min(max(math.floor(low), 0), size - 1)
    return first, min(max(math.ceil(high), first + 1), size)


def padded_face(image: Image, box: npt.NDArray[np.float32]) -> Image:
    """A square around the face box with more room below than above, scaled to 224 x 224; beyond the
    image its edge is repeated. `image` (height, width) or (height, width, 3); `box` x1, y1, x2, y2 as
    fractions of it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box.astype(np.float64) * [width, height, width, height]
    half = max(x2 - x1, y2 - y1, 1.0) / 2
    left = (x1 + x2) / 2 - half * (1 + PADDING)
    upper = (y1 + y2) / 2 - half
    scale = WHOLE_FACE_SIZE / (2 * half * (1 + PADDING))
    if scale < 0.5:  # first averaged down: interpolation alone would skip pixels
        small = resize(image, max(1, round(width * 2 * scale)), max(1, round(height * 2 * scale)))
        left, upper = left * small.shape[1] / width, upper * small.shape[0] / height
        image, scale = small, scale * width / small.shape[1]
    matrix = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - upper) * scale - 0.5]])
    size = (WHOLE_FACE_SIZE, WHOLE_FACE_SIZE)
    face = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.uint8, copy=False)


def mouths_of(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The lower halves of the face boxes in `padded_face` crops (n, 224, 224, 3), as mouth crops
    (n, 48, 96, 3); a box is taken for a square."""
    side = round(WHOLE_FACE_SIZE / (1 + PADDING))
    left = (WHOLE_FACE_SIZE - side) // 2
    halves = faces[:, side // 2 : side, left : left + side]
    return np.stack([resize(half, FACE_SIZE, FACE_SIZE // 2) for half in halves])
