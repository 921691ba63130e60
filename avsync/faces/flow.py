"""Where a face went from one frame to another a few frames later, by optical flow.

This costs a twentieth of detecting the face anew, and between two detections it is the steadier of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.media.images import Image, cv2

Box = npt.NDArray[np.float32]
"""x1, y1, x2, y2 in pixels, and whatever follows."""
Points = npt.NDArray[np.float32]

SIDE = 128
"""Pixels of the square cut-outs that are compared."""
ROOM = 2.0
"""Side of a cut-out in units of the face's longer side, which makes the face 64 pixels long."""
GRID = 5
"""Points along either side of the grid that is followed."""
ACROSS, DOWN = (0.25, 0.75), (0.2, 0.75)
"""The part of the face box that the grid covers: brows to upper lip, not the background beside the face."""
POINTS = np.stack(np.meshgrid(*(np.linspace(*part, GRID) for part in (ACROSS, DOWN))), -1).reshape(-1, 2)
"""The grid (25, 2) as x, y in units of the face box."""
WINDOW = (13, 13)
LEVELS = 2
MAX_RETURN = 0.7
"""Pixels of a cut-out by which a point that is followed there and back may miss where it began."""
MIN_SHARE = 0.6
"""Of the points that must come back, for the face to count as followed."""
MAX_SPREAD = 2.5
"""Pixels: the median distance of the points from where shift and scale would have put them. Faces that turn
exceed it, and are detected."""
MAX_SCALE = 1.1
"""The face may have become this much larger, or smaller."""


@dataclass(frozen=True)
class View:
    """A face at `box` in a frame and its surroundings: `grey` uint8 (SIDE, SIDE), `scale` times as large as
    in the frame, where its upper left corner is at (left, top)."""

    box: Box
    grey: Image
    left: int
    top: int
    scale: float


def view(image: Image, box: Box, place: Box | None = None) -> View:
    """The face at `box` in an image (h, w, 3), cut out around `place`, or around the box itself; an empty
    cut-out, in which nothing can be followed, where hardly any of it is in the image."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (box if place is None else place)[:4]
    side = max(8.0, ROOM * max(box[2] - box[0], box[3] - box[1]))
    left, right = _within((x1 + x2 - side) / 2, (x1 + x2 + side) / 2, width)
    top, bottom = _within((y1 + y2 - side) / 2, (y1 + y2 + side) / 2, height)
    scale = SIDE / side
    if min(right - left, bottom - top) * scale < 1:
        return View(box, np.zeros((SIDE, SIDE), np.uint8), left, top, scale)
    part = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grey = cv2.resize(part, None, fx=scale, fy=scale, interpolation=way)[:SIDE, :SIDE]
    missing = SIDE - grey.shape[0], SIDE - grey.shape[1]  # beyond the frame
    square = cv2.copyMakeBorder(grey, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return View(box, np.asarray(square, np.uint8), left, top, scale)


def _within(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels from `low` to `high`, at least one of them, inside 0..size."""
    first = int(min(max(low, 0), size - 1))
    return first, int(min(max(high, first + 1), size))


def moved(before: View, image: Image, place: Box) -> Box | None:
    """The box of the face of `before` in another image, where it is expected at `place`; None where it cannot
    be told, and the face must be looked for."""
    after = view(image, before.box, place)
    points = _in_view(before.box[:2] + POINTS * (before.box[2:4] - before.box[:2]), before)
    expected = _in_view(_middle(place), after) - _in_view(_middle(before.box), before)
    there, back = _there_and_back(before.grey, after.grey, points, (points + expected).astype(np.float32))
    kept = np.abs(back - points).max(axis=1) < MAX_RETURN
    if kept.mean() < MIN_SHARE:
        return None
    return _carried(before, after, points[kept], there[kept])


def _middle(box: Box) -> Points:
    return np.asarray((box[:2] + box[2:4]) / 2, np.float32)


def _in_view(points: npt.NDArray[Any], seen: View) -> Points:
    """Points (..., 2) of the frame in pixels of a cut-out."""
    return ((points - [seen.left, seen.top]) * seen.scale).astype(np.float32)


def _there_and_back(before: Image, after: Image, points: Points, guess: Points) -> tuple[Points, Points]:
    """Where points (n, 2) of one image are in the other, and where they come out when followed back; NaN
    for those that were lost."""
    options: dict[str, Any] = {"winSize": WINDOW, "maxLevel": LEVELS, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, guess.copy(), **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, points.copy(), **options)
    lost = (np.asarray(found).ravel() == 0) | (np.asarray(returned).ravel() == 0)
    return np.asarray(there, np.float32), np.where(lost[:, None], np.float32(np.nan), back).astype(np.float32)


def _carried(before: View, after: View, points: Points, there: Points) -> Box | None:
    """The box of `before` shifted and scaled as its points (n, 2) were from one cut-out to the other."""
    middle, now = _median(points), _median(there)
    was, is_now = points - middle, there - now
    spread = np.hypot(was[:, 0], was[:, 1])
    far = spread > 1
    scale = float(_median(np.hypot(is_now[far, 0], is_now[far, 1]) / spread[far]))
    missed = is_now - scale * was
    if not 1 / MAX_SCALE < scale < MAX_SCALE or _median(np.hypot(missed[:, 0], missed[:, 1])) > MAX_SPREAD:
        return None
    origins = np.array([[view.left, view.top] for view in (before, after)])
    pivot, goal = (origins[i] + place / before.scale for i, place in enumerate((middle, now)))
    box = before.box.copy()
    box[:2], box[2:4] = goal + scale * (box[:2] - pivot), goal + scale * (box[2:4] - pivot)
    return box


def _median(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The median along the first axis, of a few values in a quarter of NumPy's time; NaN of none."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
