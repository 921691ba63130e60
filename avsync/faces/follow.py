"""Find faces and cut out their mouths in one pass: each frame is decoded once, and held until the faces in it
are located."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from avsync.core.constants import DETECT_LONG_SIDE, FACE_SIZE, MOUTH_HEIGHT, CropKind
from avsync.core.records import Clip, FaceTrack, Gap, Span
from avsync.core.resident import give_back
from avsync.core.streams import Media
from avsync.core.timing import Timings, timed_calls, timed_each
from avsync.faces import detect as detectors
from avsync.faces.crop import Roll, crop, padded_face, rest
from avsync.faces.detect import Detect
from avsync.faces.shots import SMALL_SIZE, structure
from avsync.faces.track import MIN_FACE_PIXELS, SMOOTH_REACH, Boxes, Trail, followed
from avsync.media.frames import shown
from avsync.media.images import Image
from avsync.media.planes import Planes, planes

Found = Callable[[FaceTrack, Image], None]
"""found(track, face): called at the end of each track, with its 96x96 RGB portrait."""
Cut = Callable[[Planes, Boxes], Image]
"""What a network sees of a face box in a frame."""
T = TypeVar("T")

CLIPS_BETWEEN = 8
"""Clips after which memory that is not in use is given back: by then it may be some 10 MB."""
STAYS = 2e-4
"""Of the frame's sides: a box that moves less, a quarter of a pixel of 720p, is where it was."""


def face_clips(
    media: Media,
    found: Found,
    *,
    detector: str = "centerface",
    first_number: int = 0,
    piece_frames: int = 500,
    progress: Callable[[float], None] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    on_gap: Callable[[Gap], None] | None = None,
    kind: CropKind = "mouth",
    quiet: Sequence[Span] = (),
    timings: Timings | None = None,
) -> Generator[Clip, None, None]:
    """The crops, mouths or whole faces by `kind`, of every face that lasts 0.4 s or more, as a stream;
    clips of several faces may alternate.

    Faces are numbered from `first_number` in order of appearance. `found` is called at the end of each track,
    and for unfinished ones when the generator is closed early. Stretches where a face is not seen are left
    out, as are those shorter than one model window. A longer one comes in pieces of at most `piece_frames`
    that overlap by 4 frames. In the stretches `quiet`, in order of time, known faces are followed as long as
    optical flow can, but nobody is looked for and nothing is cut. `progress` and `on_gap` are as for
    `media.frames`. The seconds that "decoding", "detection" and "crops" take are added to `timings`.

    Raises:
        MediaError: the video cannot be decoded.
        ModelError: the detector cannot be loaded.
    """
    video = media.video
    coming = shown(media, start_s=start_s, end_s=end_s, progress=progress, on_gap=on_gap)
    least = MIN_FACE_PIXELS / max(1, video.height) if video else 0.0
    timings = {} if timings is None else timings
    frames = timed_each(planes(coming, video), timings, "decoding") if video else iter(())
    detect = timed_calls(detectors.load(detector), timings, "detection")
    cut = timed_calls(CUTS[kind], timings, "crops")
    pieces = clips(frames, detect, found, first_number, piece_frames, least, cut, quiet)
    with closing(pieces):
        for number, clip in enumerate(pieces):
            if number % CLIPS_BETWEEN == 0:
                give_back()
            yield clip


@dataclass(eq=False)
class _Face:
    """A face whose crops are being cut: the number of frames done, its best portrait so far, and the latest
    crop with its frame and box."""

    trail: Trail
    roll: Roll
    done: int = 0
    score: float = -1.0
    portrait: Image | None = None
    latest: tuple[Planes, Boxes, Image] | None = None


def clips(
    frames: Iterable[Planes],
    detect: Detect,
    found: Found,
    first_number: int,
    piece_frames: int,
    least: float,
    cut: Cut,
    quiet: Sequence[Span] = (),
) -> Generator[Clip, None, None]:
    """`face_clips` on frames at 25 a second; `least`: lowest face kept, as a fraction of the frame."""
    edges = [edge for span in quiet for edge in span]
    held: deque[Planes] = deque()
    faces: dict[Trail, _Face] = {}
    number, now = first_number, -1

    def idle(frame: Planes) -> bool:
        return bisect_right(edges, frame.time_s) % 2 == 1

    def told(face: _Face) -> None:
        if face.portrait is not None:
            found(face.trail.track(face.roll.number), face.portrait)

    try:
        copies = _once(_small), _once(_structure)
        for frame, open_trails, closed in followed(frames, detect, *copies, idle):
            now += 1
            held.append(frame)
            for trail in (*open_trails, *closed):
                if trail not in faces and trail.lasts and trail.height >= least:
                    faces[trail] = _Face(trail, Roll(number, trail.start_s))
                    number += 1
                if face := faces.get(trail):
                    ends = trail in closed or trail.lost(now)
                    until = trail.keys[-1] - trail.keys[0] + (1 if ends else -SMOOTH_REACH)
                    yield from _cut(face, until, held, now, piece_frames, cut, idle)
            for trail in closed:
                if face := faces.pop(trail, None):
                    yield from rest(face.roll)
                    told(face)
            needed = min((_next(trail, faces, now) for trail in open_trails), default=now)
            while held and now - len(held) + 1 < needed:
                held.popleft()
    finally:
        for face in faces.values():
            told(face)


def _next(trail: Trail, faces: dict[Trail, _Face], now: int) -> int:
    """Number of the first frame that the trail may still need at frame `now`."""
    if trail in faces and trail.lost(now):
        return now
    return trail.keys[0] + (faces[trail].done if trail in faces else 0)


def _cut(
    face: _Face,
    until: int,
    held: deque[Planes],
    now: int,
    piece_frames: int,
    cut: Cut,
    idle: Callable[[Planes], bool],
) -> Iterator[Clip]:
    """Cuts the face's crops up to its frame `until`, but where a frame is `idle`; `held` ends with frame
    number `now`."""
    if until <= face.done:
        return
    trail, roll = face.trail, face.roll
    first_held = now - len(held) + 1
    boxes, seen = trail.between(face.done, until)
    for number, box, here in zip(range(face.done, until), boxes, seen, strict=True):
        if not here:  # nor is its frame held any more
            yield from rest(roll)
            continue
        frame = held[trail.keys[0] + number - first_held]
        if face.portrait is not None and idle(frame):
            yield from rest(roll)
            continue
        roll.take(number, _mouth_of(face, frame, box, cut))
        if len(roll.mouths) == piece_frames:
            yield roll.handed_on()
        key = trail.keys[0] + number
        if key in trail.keys[-8:]:
            score = float(trail.boxes[trail.keys.index(key)][4])
            if score > face.score + 0.02:
                face.score, face.portrait = score, _portrait(frame, box)
    face.done = until


def _mouth_of(face: _Face, frame: Planes, box: Boxes, cut: Cut) -> Image:
    """The crop of a face; that of the frame before where neither this looks different nor the box moved."""
    if face.latest is not None:
        before, place, mouth = face.latest
        if frame.y is before.y and np.abs(box - place).max() < STAYS:
            return mouth
    face.latest = frame, box, cut(frame, box)
    return face.latest[2]


def _once(make: Callable[[Planes], T]) -> Callable[[Planes], T]:
    """`make`, which is not called again for frames that look the same."""
    latest: tuple[Planes, T] | None = None

    def made(frame: Planes) -> T:
        nonlocal latest
        if latest is None or latest[0].y is not frame.y:
            latest = frame, make(frame)
        return latest[1]

    return made


def _cropped(frame: Planes, cut: Callable[[Image], Image]) -> Image:
    return frame.rgb(*map(cut, (frame.y, frame.u, frame.v)))


def _portrait(frame: Planes, box: Boxes) -> Image:
    return _cropped(frame, lambda plane: crop(plane, box))


def _mouth(frame: Planes, box: Boxes) -> Image:
    return _cropped(frame, lambda plane: crop(plane, box, top=FACE_SIZE - MOUTH_HEIGHT))


def _whole_face(frame: Planes, box: Boxes) -> Image:
    return _cropped(frame, lambda plane: padded_face(plane, box))


CUTS: dict[CropKind, Cut] = {"mouth": _mouth, "face": _whole_face}


def _small(frame: Planes) -> Image:
    """The image that faces are detected in: twice the size of the search, for measuring small ones
    closely."""
    return frame.small(2 * DETECT_LONG_SIDE)


def _structure(frame: Planes) -> np.ndarray:
    return structure(frame.thumbnail(*SMALL_SIZE))
