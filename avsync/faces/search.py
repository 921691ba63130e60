"""Look for faces in one frame: those that are known where they are expected, others everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from avsync.core.constants import DETECT_LONG_SIDE
from avsync.faces.detect import Detect
from avsync.media.images import Image, resize

Boxes = npt.NDArray[np.float32]
"""(n, 5): x1, y1, x2, y2 in pixels of the frames that the detector sees, score 0..1."""
START_SCORE = 0.5
"""A face must score this to begin a track; detect.MIN_SCORE is enough to continue one."""
CLOSER_SIDE = 160
"""Pixels of the square cut-out around one known face, in which it is measured again."""
CLOSER_ROOM = 1.8
"""Side of that square in units of the face's height, which makes the face about 90 pixels high, the
size of the faces that the models were trained on."""
SMALL_FACE = 0.12
"""Share of the video's long side: where the largest face is lower, the whole frame is searched enlarged."""
PART = 0.6
"""Share of the long side in either part of a frame that is searched enlarged."""
MAX_FACES = 8
SAME_FACE = 0.4
"""Overlap (intersection over union) from which two boxes are one face."""
MATCH_LIMIT = 0.8
"""Largest `mismatch` between where a face was expected and where one was found."""


def look(
    image: Image, detect: Detect, carried: Sequence[Boxes], sought: Sequence[Boxes], *, everywhere: bool
) -> Boxes:
    """The faces in an image: those `carried` (each (5,)) are known, those `sought` (each (4,)) are looked for
    where they are expected; the whole frame is searched when that is due, when there is neither, or when
    one sought is not found."""
    measured = [box for box in (_closer(image, detect, place) for place in sought) if box is not None]
    found = [*carried, *measured]
    if everywhere or not found or len(measured) < len(sought):
        for place in _search(image, detect, wide=everywhere):
            if all(overlap(place, box) < SAME_FACE for box in found):
                box = _closer(image, detect, place[:4])
                found.append(place if box is None else box)
    return distinct(np.array(found, np.float32).reshape(-1, 5))


def _search(image: Image, detect: Detect, *, wide: bool) -> Boxes:
    """Faces in the whole frame, largest first. A close-up that the usual size misses is searched for
    in a smaller copy; when `wide`, faces too small for the usual size in a larger one."""
    usual = min(DETECT_LONG_SIDE, max(image.shape[:2]))
    found = _detect_at(image, detect, usual)
    if not len(found):
        found = _detect_at(image, detect, usual // 2)
    if wide and (found[:, 3] - found[:, 1] < SMALL_FACE * max(image.shape[:2])).all():
        larger = _detect_in_parts(image, detect, 2 * DETECT_LONG_SIDE)
        found = larger if len(larger) else found
    found = found[found[:, 4] >= START_SCORE]
    return found[np.argsort(found[:, 1] - found[:, 3], kind="stable")][:MAX_FACES]


def _detect_in_parts(image: Image, detect: Detect, long_side: int) -> Boxes:
    """`_detect_at` of both ends of the frame's long side, since a network of this size takes twice the memory
    for the whole of it. They overlap by more than a small face."""
    axis = int(np.argmax(image.shape[:2]))
    length = image.shape[axis]
    part = round(PART * length)
    found = []
    for first in (0, length - part):
        boxes = _detect_at(image.take(range(first, first + part), axis), detect, round(PART * long_side))
        boxes[:, [1 - axis, 3 - axis]] += first
        found.append(boxes)
    return distinct(np.concatenate(found))


def _detect_at(image: Image, detect: Detect, long_side: int) -> Boxes:
    scale = min(1.0, long_side / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    found = detect(resize(image, width, height)).copy()
    found[:, 0:4:2] *= image.shape[1] / width
    found[:, 1:4:2] *= image.shape[0] / height
    return found


def _closer(image: Image, detect: Detect, place: Boxes) -> Boxes | None:
    """The face nearest to `place` (x1, y1, x2, y2), measured in a square cut-out around it."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = place[:4]
    side = max(8.0, CLOSER_ROOM * max(x2 - x1, y2 - y1))
    left = int(np.clip((x1 + x2 - side) / 2, 0, max(0, width - side)))
    top = int(np.clip((y1 + y2 - side) / 2, 0, max(0, height - side)))
    part = image[top : top + round(side), left : left + round(side)]
    scale = CLOSER_SIDE / max(part.shape[:2])
    wide, high = (max(1, round(side * scale)) for side in part.shape[1::-1])
    square = np.zeros((CLOSER_SIDE, CLOSER_SIDE, 3), np.uint8)
    square[:high, :wide] = resize(part, wide, high)
    found = detect(square).copy()
    if not len(found):
        return None
    found[:, 0:4:2] = found[:, 0:4:2] * part.shape[1] / wide + left
    found[:, 1:4:2] = found[:, 1:4:2] * part.shape[0] / high + top
    cost = mismatch(place[None, :4], found[:, :4])[0]
    return found[cost.argmin()] if cost.min() < MATCH_LIMIT else None


def overlap(a: Boxes, b: Boxes) -> float:
    """Intersection over union of two boxes."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return float(wide * high / union) if union > 0 else 0.0


def distinct(found: Boxes) -> Boxes:
    """Of boxes that overlap by SAME_FACE or more only the one with the highest score."""
    kept: list[Boxes] = []
    for box in found[np.argsort(-found[:, 4], kind="stable")]:
        if all(overlap(box, other) < SAME_FACE for other in kept):
            kept.append(box)
    return np.array(kept, np.float32).reshape(-1, 5)


def mismatch(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """How badly boxes fit: a (n, 4), b (m, 4) -> (n, m). The distance of the centres in units of the
    face's size, plus half the base-2 logarithm of the ratio of the sizes; 0 is the same box."""
    size_a, size_b = (np.sqrt(np.maximum(1e-6, (c[:, 2:] - c[:, :2]).prod(1))) for c in (a, b))
    apart = np.linalg.norm((a[:, None, :2] + a[:, None, 2:] - b[:, :2] - b[:, 2:]) / 2, axis=2)
    cost = apart / np.sqrt(size_a[:, None] * size_b) + np.abs(np.log2(size_a[:, None] / size_b)) / 2
    return cost.astype(np.float32)
