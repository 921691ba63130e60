"""Whole faces of 224 x 224 for networks that look at them, cut from the clips' own files: the prepared cache
holds mouths only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.distill.prepare import main_face_pictures, prepared_faces
from avsync.distill.sources import is_prepared
from avsync.distill.store import StoredClip
from avsync.errors import MediaError
from avsync.opencv import Image, cv2, resize
from avsync.syncnet import FACE_PIXELS

PADDING = 0.4
"""Of half the face box's longer side: room around the face, as SyncNet's own cropping leaves it."""


def face_pictures(clip: StoredClip) -> npt.NDArray[np.uint8]:
    """The frames of a prepared clip as (n, 224, 224, 3) RGB.

    Raises:
        MediaError: its file is gone, or has changed since it was prepared.
    """
    path = Path(clip.source)
    if not path.exists():
        raise MediaError(f"{path} is gone, and the prepared cache holds no whole faces of it.")
    if is_prepared(path):
        pictures = [resize(face, FACE_PIXELS, FACE_PIXELS) for face in prepared_faces(path)]
    else:
        pictures = list(main_face_pictures(path, padded_face))
    if len(pictures) != clip.frames:
        raise MediaError(f"{path} has changed since it was prepared; prepare it again.")
    return np.stack(pictures)


def padded_face(image: Image, box: npt.NDArray[np.float32]) -> Image:
    """A square around the face box with more room below than above, scaled to (224, 224, 3); beyond the
    picture its edge goes on. `box` x1, y1, x2, y2 as fractions of the picture."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box.astype(np.float64) * [width, height, width, height]
    half = max(x2 - x1, y2 - y1, 1.0) / 2
    left = (x1 + x2) / 2 - half * (1 + PADDING)
    upper = (y1 + y2) / 2 - half
    scale = FACE_PIXELS / (2 * half * (1 + PADDING))
    if scale < 0.5:  # first averaged down: interpolation alone would skip pixels
        small = resize(image, max(1, round(width * 2 * scale)), max(1, round(height * 2 * scale)))
        left, upper = left * small.shape[1] / width, upper * small.shape[0] / height
        image, scale = small, scale * width / small.shape[1]
    matrix = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - upper) * scale - 0.5]])
    size = (FACE_PIXELS, FACE_PIXELS)
    face = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.uint8, copy=False)
