"""Find every face that lasts, from one streaming pass over a small version of the video."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from avsync.core.constants import DETECT_EVERY, DETECT_LONG_SIDE, FRAME_RATE
from avsync.core.records import FaceTrack, Frame, Gap
from avsync.core.streams import Media
from avsync.faces import detect as detectors
from avsync.faces import flow
from avsync.faces.detect import Detect
from avsync.faces.shots import Structure, shots, structure
from avsync.media.frames import frames
from avsync.media.images import Image, cv2, resize


class Timed(Protocol):
    """Anything with a presentation time."""

    @property
    def time_s(self) -> float: ...


Boxes = npt.NDArray[np.float32]
"""(n, 5): x1, y1, x2, y2 in pixels of the frames that the detector sees, score 0..1."""

# --- Detection ---------------------------------------------------------------------------
START_SCORE = 0.5
"""A face must score this to begin a track; detect.MIN_SCORE is enough to continue one."""
MEASURE_EVERY = 3 * DETECT_EVERY
"""Frames from one detection of a known face to the next; in between it is followed by optical flow, where
that succeeds."""
SURE_DETECTIONS = 3
"""A face that was detected fewer times is detected again rather than followed."""
SEARCH_EVERY = FRAME_RATE
"""Frames between searches of the whole frame while known faces are being followed."""
CLOSER_SIDE = 160
"""Pixels of the square cut-out around one known face, in which it is measured again."""
CLOSER_ROOM = 1.8
"""Side of that square in units of the face's height, which makes the face about 90 pixels high, the
size of the faces that the models were trained on."""
SMALL_FACE = 0.12
"""Share of the video's long side: where the largest face is lower, the whole frame is searched enlarged."""
MAX_FACES = 8
SAME_FACE = 0.4
"""Overlap (intersection over union) from which two boxes are one face."""

# --- Tracks ------------------------------------------------------------------------------
MATCH_LIMIT = 0.8
"""Largest `mismatch` between where a face was expected and where one was found."""
MAX_GAP = FRAME_RATE
"""Frames without a detection after which a track ends."""
TRUSTED_GAP = 10
"""Frames; a face not detected for longer is bridged but marked as not seen."""
MIN_FRAMES = 10
MIN_FACE_PIXELS = 16
"""Least height of a face in pixels of the original video."""
SMOOTH_FRAMES = 3.0
"""Standard deviation of the smoothing of boxes over time, in frames."""
SMOOTH_REACH = round(4 * SMOOTH_FRAMES)
"""Frames on either side that a smoothed box depends on."""

F = TypeVar("F", bound=Timed)


def find_tracks(
    media: Media,
    *,
    detector: str = "centerface",
    progress: Callable[[float], None] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    on_gap: Callable[[Gap], None] | None = None,
) -> tuple[FaceTrack, ...]:
    """Every face that lasts 0.4 s or more, each shot on its own; () when there is none.

    `progress` and `on_gap` are as for `media.frames`.

    Raises:
        MediaError: the video cannot be decoded.
        ModelError: the detector cannot be loaded.
    """
    detect = detectors.load(detector)
    # Twice the size of the search, for measuring small faces closely.
    decoded = frames(
        media,
        long_side=2 * DETECT_LONG_SIDE,
        start_s=start_s,
        end_s=end_s,
        progress=progress,
        on_gap=on_gap,
    )
    height = media.video.height if media.video else 0
    return track_faces(decoded, detect, least=MIN_FACE_PIXELS / max(1, height))


def track_faces(video: Iterable[Frame], detect: Detect, *, least: float = 0.0) -> tuple[FaceTrack, ...]:
    """`find_tracks` on frames at 25 a second. `least`: lowest face kept, as a fraction of the frame."""
    seen = followed(video, detect, lambda frame: frame.image, lambda frame: structure(frame.image))
    tracks = [
        trail.track() for _, _, closed in seen for trail in closed if trail.lasts and trail.height >= least
    ]
    tracks.sort(key=lambda t: (t.start_s, -float(t.boxes[0, 3] - t.boxes[0, 1])))
    return tuple(_numbered(tracks))


def followed(
    coming: Iterable[F],
    detect: Detect,
    image_of: Callable[[F], Image],
    structure_of: Callable[[F], Structure],
) -> Iterator[tuple[F, list[Trail], list[Trail]]]:
    """Each frame with the trails of faces that are open after it, and those that ended with it.

    `image_of` makes the small copy that faces are looked for in, only of the frames where that is done.
    """
    trails: list[Trail] = []
    shot, begin, searched = -1, 0, 0
    for now, (frame, first, last) in enumerate(shots(coming, structure_of)):
        if first:
            shot, begin, searched = shot + 1, now, now - SEARCH_EVERY
        if (now - begin) % DETECT_EVERY and not last:
            yield frame, trails, []
            continue
        image = image_of(frame)
        due = now - searched >= SEARCH_EVERY
        carried = {t: box for t in trails if (box := t.carried(image, now)) is not None}
        sought = [trail.expect(now) for trail in trails if trail not in carried]
        found = look(image, detect, list(carried.values()), sought, everywhere=due)
        searched = now if due else searched
        trails = _extend(trails, found, now, Trail(frame.time_s, shot, image.shape[:2]))
        for trail in trails:
            if trail.keys[-1] == now and trail not in carried:
                trail.measured(image, now)
        closed = [t for t in trails if last or now - t.keys[-1] >= MAX_GAP]
        trails = [t for t in trails if t not in closed]
        yield frame, trails, closed


# --- Detection ---------------------------------------------------------------------------


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
        larger = _detect_at(image, detect, 2 * DETECT_LONG_SIDE)
        found = larger if len(larger) else found
    found = found[found[:, 4] >= START_SCORE]
    return found[np.argsort(found[:, 1] - found[:, 3], kind="stable")][:MAX_FACES]


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


# --- Tracks ------------------------------------------------------------------------------


@dataclass(eq=False)
class Trail:
    """The detections of one face in one shot so far: frame numbers, boxes (5,) in pixels of frames of `size`
    (height, width), and the first's time."""

    start_s: float
    shot: int
    size: tuple[int, ...]
    keys: list[int] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)
    detections: int = 0
    latest: tuple[int, flow.View] | None = None
    """Frame number and view of the last detection; the boxes since then were carried on from it."""

    def measured(self, image: Image, now: int) -> None:
        """Notes that the last box is a detection, in `image`."""
        self.detections += 1
        self.latest = now, flow.view(image, self.boxes[-1])

    def carried(self, image: Image, now: int) -> Boxes | None:
        """The box in the image of frame `now`, carried on from a recent detection by optical flow; None where
        the face must be detected."""
        if self.latest is None or self.detections < SURE_DETECTIONS:
            return None
        number, seen = self.latest
        return flow.moved(seen, image, self.expect(now)) if now - number < MEASURE_EVERY else None

    def expect(self, now: int) -> Boxes:
        """Where the face should be at frame `now`: its last motion continues for TRUSTED_GAP frames."""
        box = self.boxes[-1][:4]
        if len(self.keys) < 2 or self.keys[-1] - self.keys[-2] > TRUSTED_GAP:
            return box
        moved = (box - self.boxes[-2][:4]) / (self.keys[-1] - self.keys[-2])
        ahead = min(now - self.keys[-1], TRUSTED_GAP)
        return (box + np.tile((moved[:2] + moved[2:]) / 2, 2) * ahead).astype(np.float32)

    @property
    def height(self) -> float:
        """The median height of the face as a fraction of the frame."""
        return float(np.median([box[3] - box[1] for box in self.boxes])) / self.size[0]

    @property
    def lasts(self) -> bool:
        return self.keys[-1] - self.keys[0] + 1 >= MIN_FRAMES and len(self.keys) >= 3

    def between(self, first: int, past: int) -> tuple[Boxes, npt.NDArray[np.bool_]]:
        """Boxes as fractions of the frame, and which are seen, of the frames numbered `first` to before
        `past` from the trail's first on; those less than SMOOTH_REACH before its last may still change."""
        low = max(0, first - SMOOTH_REACH)
        at = max(0, bisect_right(self.keys, low + self.keys[0]) - 1)
        boxes, seen = between(self.keys[at:], np.stack(self.boxes[at:])[:, :4])
        skipped = self.keys[at] - self.keys[0]
        boxes = boxes / np.array([self.size[1], self.size[0]] * 2, np.float32)
        return boxes[first - skipped : past - skipped], seen[first - skipped : past - skipped]

    def track(self, number: int = 0) -> FaceTrack:
        """The record of the whole trail."""
        boxes, seen = self.between(0, self.keys[-1] - self.keys[0] + 1)
        score = float(np.mean([box[4] for box in self.boxes]))
        return FaceTrack(number, self.shot, self.start_s, boxes.astype(np.float32), seen, score)


def _extend(trails: list[Trail], found: Boxes, now: int, new: Trail) -> list[Trail]:
    """Appends each face found to the trail that it continues; the others begin trails like `new`."""
    expected = np.array([trail.expect(now) for trail in trails], np.float32).reshape(-1, 4)
    pairs = {face: trail for trail, face in associate(expected, found[:, :4])}
    fresh = []
    for face, box in enumerate(found):
        if face in pairs:
            trail = trails[pairs[face]]
        elif box[4] >= START_SCORE:
            trail = replace(new, keys=[], boxes=[])
            fresh.append(trail)
        else:
            continue
        trail.keys.append(now)
        trail.boxes.append(box)
    return trails + fresh


def mismatch(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """How badly boxes fit: a (n, 4), b (m, 4) -> (n, m). The distance of the centres in units of the
    face's size, plus half the base-2 logarithm of the ratio of the sizes; 0 is the same box."""
    size_a, size_b = (np.sqrt(np.maximum(1e-6, (c[:, 2:] - c[:, :2]).prod(1))) for c in (a, b))
    apart = np.linalg.norm((a[:, None, :2] + a[:, None, 2:] - b[:, :2] - b[:, 2:]) / 2, axis=2)
    cost = apart / np.sqrt(size_a[:, None] * size_b) + np.abs(np.log2(size_a[:, None] / size_b)) / 2
    return cost.astype(np.float32)


def associate(expected: Boxes, found: Boxes) -> list[tuple[int, int]]:
    """Pairs (i, j) of boxes expected (n, 4) and found (m, 4), best fit first, each used at most once."""
    cost = mismatch(expected, found)
    pairs: list[tuple[int, int]] = []
    while cost.size and cost.min() < MATCH_LIMIT:
        i, j = np.unravel_index(cost.argmin(), cost.shape)
        pairs.append((int(i), int(j)))
        cost[i, :] = cost[:, j] = np.inf
    return pairs


def between(keys: Sequence[int], boxes: Boxes) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes (k, 4) at frames `keys` -> boxes (n, 4) for every frame from the first to the last key,
    interpolated and smoothed, and which of them are near enough to a detection to be trusted."""

    every = np.arange(keys[0], keys[-1] + 1)
    filled = np.stack([np.interp(every, keys, column) for column in boxes.T], axis=1)
    smooth = cv2.GaussianBlur(
        filled, (1, 2 * SMOOTH_REACH + 1), sigmaX=1, sigmaY=SMOOTH_FRAMES, borderType=cv2.BORDER_REPLICATE
    )
    seen = np.ones(len(every), bool)
    for one, other in pairwise(keys):
        if other - one > TRUSTED_GAP:
            seen[one - keys[0] + 1 : other - keys[0]] = False
    return smooth.astype(np.float32), seen


def _numbered(tracks: list[FaceTrack]) -> Iterator[FaceTrack]:
    for number, t in enumerate(tracks):
        yield FaceTrack(number, t.shot, t.start_s, t.boxes, t.seen, t.confidence)
