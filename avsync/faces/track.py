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
from avsync.faces.search import MATCH_LIMIT, START_SCORE, Boxes, look, mismatch
from avsync.faces.shots import Structure, shots, structure
from avsync.media.frames import frames
from avsync.media.images import Image, cv2


class Timed(Protocol):
    """Anything with a presentation time."""

    @property
    def time_s(self) -> float: ...


# --- Detection ---------------------------------------------------------------------------
MEASURE_EVERY = 3 * DETECT_EVERY
"""Frames from one detection of a known face to the next; in between it is followed by optical flow, where
that succeeds."""
STEADY_EVERY = 2 * FRAME_RATE
"""What these grow to, doubling, while detections confirm where the flow had put the face."""
SURE_DETECTIONS = 3
"""A face whose last detections in agreement are fewer is detected again rather than followed."""
LEAST_SHARE = 0.4
"""What a detection counts, beside the box carried on from those before."""
SAME_PLACE = 0.2
"""`mismatch` of the two up to which they agree."""
CONFIRMED = 0.1
"""`mismatch` of the two up to which the face may be followed for longer: detections scatter that much."""
IDLE_EVERY = 2 * DETECT_EVERY
"""Frames from one look to the next while no face is known, and from one step of optical flow to the next
where nobody speaks."""
SEARCH_EVERY = FRAME_RATE
"""Frames between searches of the whole frame while known faces are being followed."""

# --- Tracks ------------------------------------------------------------------------------
MAX_GAP = FRAME_RATE
"""Frames without a detection after which a track ends; one that is not yet known to last ends sooner."""
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
    idle: Callable[[F], bool] = lambda _: False,
) -> Iterator[tuple[F, list[Trail], list[Trail]]]:
    """Each frame with the trails of faces that are open after it, and those that ended with it.

    `image_of` makes the small copy that faces are looked for in, only of the frames where that is done; of
    frames that look the same it may be the same array, in which they are not looked for again. Where a frame
    is `idle` nobody is looked for, and those who are known are followed by optical flow as long as that
    succeeds.
    """
    trails: list[Trail] = []
    shot, begin, searched = -1, 0, 0
    latest = _Look(None, np.empty((0, 5), np.float32), everywhere=False)
    for now, (frame, first, last) in enumerate(shots(coming, structure_of)):
        if first:
            shot, begin, searched = shot + 1, now, now - 2 * SEARCH_EVERY
        only_followed = idle(frame)
        every = IDLE_EVERY if only_followed or not trails else DETECT_EVERY
        if (now - begin) % every and not last:
            yield frame, trails, []
            continue
        if only_followed:
            for trail in trails:
                trail.follow(image_of(frame), now)
            trails, closed = _still_open(trails, now, last=last)
            yield frame, trails, closed
            continue
        image = image_of(frame)
        due = now - searched >= SEARCH_EVERY
        if image is latest.image and (latest.everywhere or not due):
            trails = _extend(trails, latest.found, now, Trail(frame.time_s, shot, image.shape[:2]))
        else:
            carried = {t: box for t in trails if (box := t.carried(image, now)) is not None}
            sought = [trail.expect(now) for trail in trails if trail not in carried]
            found = look(image, detect, list(carried.values()), sought, everywhere=due)
            latest = _Look(image, found, everywhere=due)
            searched = now if due else searched
            trails = _extend(trails, found, now, Trail(frame.time_s, shot, image.shape[:2]))
            for trail in trails:
                if trail.keys[-1] == now and trail not in carried:
                    trail.measured(image, now)
        trails, closed = _still_open(trails, now, last=last)
        yield frame, trails, closed


def _still_open(trails: list[Trail], now: int, *, last: bool) -> tuple[list[Trail], list[Trail]]:
    """The trails that go on after frame `now` and those that end, as all do with the last of a shot."""
    ends = [last or now - t.keys[-1] >= MAX_GAP or (t.lost(now) and not t.lasts) for t in trails]
    pairs = list(zip(trails, ends, strict=True))
    return [t for t, end in pairs if not end], [t for t, end in pairs if end]


@dataclass(frozen=True, eq=False)
class _Look:
    """The faces `found` (n, 5) in an image; `everywhere`: the whole of it was searched."""

    image: Image | None
    found: Boxes
    everywhere: bool


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
    """How many detections the last one was averaged with, itself included."""
    latest: tuple[int, flow.View] | None = None
    """Frame number and view of the last detection; the boxes since then were carried on from it."""
    every: int = MEASURE_EVERY
    """Frames from that to the next detection."""
    last: tuple[Image, Boxes] | None = None
    """The latest box, and the image that it is of."""

    def measured(self, image: Image, now: int) -> None:
        """Notes that the last box is a detection, in `image` of frame `now`. Detections err by a few
        hundredths of the face's size, so it is averaged with the box carried on from those before, unless
        they differ much."""
        found = self.boxes[-1]
        recent = self.latest is not None and now - self.latest[0] <= self.every + TRUSTED_GAP
        before = self._carried(image, found, steps=True) if recent else None
        apart = np.inf if before is None else float(mismatch(before[None, :4], found[None, :4])[0, 0])
        steady = apart < CONFIRMED and self.detections >= SURE_DETECTIONS
        self.every = min(2 * self.every, STEADY_EVERY) if steady else MEASURE_EVERY
        if before is not None and apart < SAME_PLACE:
            self.detections += 1
            share = max(LEAST_SHARE, 1 / self.detections)
            self.boxes[-1] = np.append(before[:4] + share * (found - before)[:4], found[4]).astype(np.float32)
        else:
            self.detections = 1
        self.latest = now, flow.view(image, self.boxes[-1])
        self.last = image, self.boxes[-1]

    def carried(self, image: Image, now: int) -> Boxes | None:
        """The box in the image of frame `now`, carried on from a recent detection by optical flow; None where
        the face must be detected."""
        if self.latest is None or self.detections < SURE_DETECTIONS or now - self.latest[0] >= self.every:
            return None
        box = self._carried(image, self.expect(now), steps=False)
        if box is not None:
            self.last = image, box
        return box

    def follow(self, image: Image, now: int) -> None:
        """Adds the box in the image of frame `now` where optical flow can tell it, for however long the face
        was not detected."""
        if self.last is not None and self.last[0] is image:
            box = self.last[1]
        else:
            box = self._carried(image, self.expect(now), steps=True)
        if box is not None:
            self.keys.append(now)
            self.boxes.append(box)
            self.last = image, box

    def _carried(self, image: Image, place: Boxes, *, steps: bool) -> Boxes | None:
        """The box carried on from the last detection, or, of a face that has turned since then, with `steps`
        from the latest box."""
        if self.latest is None or self.last is None:
            return None
        box = flow.moved(self.latest[1], image, place)
        if box is None and steps:
            return flow.moved(flow.view(*self.last), image, place)
        return box

    def lost(self, now: int) -> bool:
        """Whether the face was last seen so long before frame `now` that the frames since do not count."""
        return now - self.keys[-1] > TRUSTED_GAP

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
