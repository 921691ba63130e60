"""OpenCV, imported in one place, so that its missing system libraries are reported in one sentence.

Import this before `deface` or `face_alignment`, which import cv2 themselves.
"""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import numpy.typing as npt

from avsync.core.errors import SetupError

__all__ = ["Image", "cv2", "encoded", "explain", "resize", "thumbnail"]

Image = npt.NDArray[np.uint8]
"""An image: RGB, (height, width, 3)."""

HEADLESS = "pip install --force-reinstall --no-deps opencv-python-headless"


def explain(error: ImportError) -> str:
    """One sentence for a cv2 that does not load: what is missing, and the command that fixes it."""
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*)", str(error))
    missing = f"the system library {library[1]} is missing" if library else str(error)
    return f"OpenCV cannot be loaded ({missing}); install the build that needs no display: {HEADLESS}"


try:
    import cv2
except ImportError as error:
    raise SetupError(explain(error)) from error


def resize(image: Image, width: int, height: int) -> Image:
    """The image at another size: averaged where it shrinks, interpolated where it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(Image, cv2.resize(image, (width, height), interpolation=way))


ROWS_AVERAGED = 4
"""Rows of an image that are averaged in each row of a thumbnail."""
MARGIN = 0.05
"""Share of an image's width that a thumbnail may leave out."""


def thumbnail(image: Image, width: int, height: int) -> Image:
    """`resize` of an image, or of one plane of it, to a far smaller size in a fifth of the time: of many rows
    only some are averaged, and columns beyond a multiple of `width` are left out where they are few, since
    averages of whole pixels are the fast ones."""
    rows, columns = image.shape[:2]
    spare, wanted = columns % width, ROWS_AVERAGED * height
    if spare <= MARGIN * columns:
        image = image[:, spare // 2 : spare // 2 + columns - spare]
    if rows > wanted:
        # Not `take`, which first copies an image whose rows do not follow one another without a gap.
        image = image[(np.arange(wanted) * rows + rows // 2) // wanted]
    return resize(image, width, height)


def encoded(image: Image, suffix: str) -> bytes:
    """The image, RGB or with transparency RGBA, as the content of a file of that kind: ".jpg" or ".png"."""
    way = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    return cv2.imencode(suffix, cv2.cvtColor(image, way))[1].tobytes()
