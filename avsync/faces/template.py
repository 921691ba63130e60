"""A cheap tracker for between two detections: where the face of a moment ago has moved to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.media.images import Image, cv2

SIDE = 40
"""Pixels of the template along the face's height: finer than that, it takes longer and is no more exact."""
REACH = 0.3
"""How far a face is looked for, in heights of it."""
ALIKE = 0.85
"""Correlation from which on a place is the same face."""

Box = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Template:
    """A face as it looked when it was detected in `box` (5,): x1, y1, x2, y2 in pixels, score."""

    box: Box
    grey: npt.NDArray[np.uint8]


def template(image: Image, box: Box) -> Template | None:
    """The face in `box` of an RGB image; None where too little of it lies inside."""
    grey = _grey(image, box, 0.0)
    return None if grey is None else Template(box, grey)


def find(image: Image, before: Template, place: Box) -> Box | None:
    """The box (5,) of the face in another image, where it is expected about `place` (4,); None where nothing
    there looks like it."""
    x, y = ((place[:2] + place[2:4]) - (before.box[:2] + before.box[2:4])) / 2
    expected = before.box + np.array([x, y, x, y, 0], np.float32)
    around = _grey(image, expected, REACH)
    if around is None or min(np.subtract(around.shape, before.grey.shape)) < 2:
        return None
    fits = cv2.matchTemplate(around, before.grey, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(fits)
    inside = 0 < row < fits.shape[0] - 1 and 0 < column < fits.shape[1] - 1
    if best < ALIKE or not inside:
        return None
    row_part = _summit(fits[row - 1 : row + 2, column])
    column_part = _summit(fits[row, column - 1 : column + 2])
    scale = SIDE / float(before.box[3] - before.box[1])
    middle = (np.array(fits.shape) - 1) / 2
    down, right = (np.array([row + row_part, column + column_part]) - middle) / scale
    return (expected + np.array([right, down, right, down, 0])).astype(np.float32)


def _summit(values: npt.NDArray[np.float32]) -> float:
    """Where a parabola through three values is highest, from the middle one on."""
    before, here, after = (float(v) for v in values)
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


def _grey(image: Image, box: Box, room: float) -> npt.NDArray[np.uint8] | None:
    """The box, and `room` of its height more on every side, so that the face is SIDE pixels high: grey.
    Beyond the frame its edge goes on. None where the middle of the face lies outside."""
    x1, y1, x2, y2 = (float(v) for v in box[:4])
    height, width = image.shape[:2]
    if not (0 <= (x1 + x2) / 2 < width and 0 <= (y1 + y2) / 2 < height) or y2 - y1 < 1 or x2 - x1 < 1:
        return None
    scale = SIDE / (y2 - y1)
    margin = room * (y2 - y1)
    left, top = x1 - margin, y1 - margin
    size = (
        max(3, round((x2 - x1) * scale)) + 2 * round(room * SIDE),
        SIDE + 2 * round(room * SIDE),
    )
    # Averaged over one template pixel first, so that none is skipped.
    low = int(max(0, top - 2)), int(max(0, left - 2))
    part = image[low[0] : int(y2 + margin + 3), low[1] : int(x2 + margin + 3), 1]
    if scale < 0.5:
        part = cv2.blur(part, (round(1 / scale), round(1 / scale)))
    matrix = np.array(
        [[1 / scale, 0, left - low[1] + 0.5 / scale - 0.5], [0, 1 / scale, top - low[0] + 0.5 / scale - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
