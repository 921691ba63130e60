"""Cut the mouth pictures that the models look at: one decoding pass for all face tracks together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from avsync.core.constants import DECODE_LONG_SIDE, FACE_SIZE, FRAME_RATE, MOUTH_HEIGHT, WINDOW_FRAMES
from avsync.core.records import Clip, FaceTrack, Frame, Media
from avsync.media.frames import frames
from avsync.media.images import Image, cv2, resize

OVERLAP = WINDOW_FRAMES - 1
"""Frames that the pieces of a long clip share, so that no window is lost."""
HALF_FRAME_S = 0.5 / FRAME_RATE
"""Spans are asked for from half a frame early, so that rounding never loses their first frame."""
JOIN_S = 2.0
"""Seconds without a face that are decoded and thrown away rather than sought over."""


def mouth_clips(
    media: Media,
    tracks: Sequence[FaceTrack],
    *,
    progress: Callable[[float], None] | None = None,
    piece_frames: int = 500,
    on_face: Callable[[int, Image], None] | None = None,
) -> Iterator[Clip]:
    """The mouth crops of all tracks, as they stream by; the clips of several tracks may alternate.

    Stretches where a face is not seen are left out, as are those shorter than one model window. A
    longer stretch comes in pieces of at most `piece_frames` that overlap by 4 frames, so memory does
    not grow with its length. `on_face(track, image)` gets one 96x96 RGB face of each track, for reports.
    Raises MediaError when the picture cannot be decoded.
    """
    if piece_frames <= OVERLAP:
        raise ValueError(f"piece_frames must be over {OVERLAP}")
    stretches = spans(tracks)
    total = sum(end - start for start, end in stretches)
    done = 0.0
    for start, end in stretches:
        inside = [t for t in tracks if start <= t.start_s < end]
        pictures = frames(
            media,
            long_side=DECODE_LONG_SIDE,
            start_s=start - HALF_FRAME_S,
            end_s=end - HALF_FRAME_S,
            progress=progress and _part(progress, done / total, (end - start) / total),
        )
        yield from cut(pictures, inside, piece_frames=piece_frames, on_face=on_face)
        done += end - start


def _part(progress: Callable[[float], None], begin: float, share: float) -> Callable[[float], None]:
    return lambda done: progress(begin + share * done)


def spans(tracks: Iterable[FaceTrack]) -> list[tuple[float, float]]:
    """The stretches [start, end) in seconds that hold all tracks; those less than JOIN_S apart are one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted((t.start_s, t.start_s + len(t.boxes) / FRAME_RATE) for t in tracks):
        if joined and start < joined[-1][1] + JOIN_S:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


@dataclass
class Roll:
    """The crops of one track that are not yet handed on. `first` is the track's frame number of mouths[0],
    `fresh` how many of them no clip has had."""

    track: FaceTrack
    first: int = 0
    fresh: int = 0
    mouths: list[Image] = field(default_factory=list)

    def clip(self) -> Clip:
        return Clip(self.track.track, self.track.start_s + self.first / FRAME_RATE, np.stack(self.mouths))

    def take(self, number: int, mouth: Image) -> None:
        if not self.mouths:
            self.first = number
        self.mouths.append(mouth)
        self.fresh += 1

    def keep(self, count: int) -> None:
        """Forgets all but the last `count` crops."""
        dropped = len(self.mouths) - count
        self.mouths, self.first, self.fresh = self.mouths[dropped:], self.first + dropped, 0


def cut(
    pictures: Iterable[Frame],
    tracks: Sequence[FaceTrack],
    *,
    piece_frames: int = 500,
    on_face: Callable[[int, Image], None] | None = None,
) -> Iterator[Clip]:
    """`mouth_clips` on frames that lie on the grid of the tracks."""
    coming = sorted(tracks, key=lambda t: t.start_s, reverse=True)
    running: list[Roll] = []
    for frame in pictures:
        while coming and coming[-1].start_s < frame.time_s + HALF_FRAME_S:
            running.append(Roll(coming.pop()))
        for roll in list(running):
            track = roll.track
            number = round((frame.time_s - track.start_s) * FRAME_RATE)
            over = number >= len(track.boxes)
            if not over and track.seen[number]:
                box = track.boxes[number]
                roll.take(number, crop(frame.image, box, top=FACE_SIZE - MOUTH_HEIGHT))
                if on_face and number == portrait(track):
                    on_face(track.track, crop(frame.image, box))
            elif roll.mouths:
                yield from _rest(roll)
            if len(roll.mouths) == piece_frames:
                yield roll.clip()
                roll.keep(OVERLAP)
            if over:
                running.remove(roll)
    for roll in running:
        yield from _rest(roll)


def _rest(roll: Roll) -> Iterator[Clip]:
    """The last piece of a stretch, unless it holds no window that is not yet handed on."""
    if roll.fresh and len(roll.mouths) >= WINDOW_FRAMES:
        yield roll.clip()
    roll.keep(0)


def portrait(track: FaceTrack) -> int:
    """The frame of the track that shows its face best: of those seen, the one in the middle."""
    seen = np.flatnonzero(track.seen)
    return int(seen[len(seen) // 2]) if len(seen) else 0


def crop(image: Image, box: npt.NDArray[np.float32], *, top: int = 0, margin: int = 0) -> Image:
    """Rows `top`..95 of the face box resized to 96x96: uint8 (96 - top, 96, 3), or with `margin` more pixels
    on every side.

    `image` (height, width, 3); `box` x1, y1, x2, y2 as fractions of it. Beyond the picture its edge goes on.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box.astype(np.float64) * [width, height, width, height]
    box_w, box_h = max(1.0, x2 - x1), max(1.0, y2 - y1)
    x1, x2 = x1 - box_w * margin / FACE_SIZE, x2 + box_w * margin / FACE_SIZE
    y1_part, y2 = y1 + box_h * (top - margin) / FACE_SIZE, y2 + box_h * margin / FACE_SIZE
    margin_x, margin_y = 2 * box_w / FACE_SIZE + 2, 2 * box_h / FACE_SIZE + 2
    left, right = _bounds(x1 - margin_x, x2 + margin_x, width)
    upper, lower = _bounds(y1_part - margin_y, y2 + margin_y, height)
    part = image[upper:lower, left:right]
    x1, y1_part = x1 - left, y1_part - upper
    scale_x, scale_y = FACE_SIZE / box_w, FACE_SIZE / box_h
    if min(scale_x, scale_y) < 0.5:
        # First averaged down to 1.5 times the target: interpolation alone would skip pixels.
        wide = max(1, round(part.shape[1] * min(1.0, 1.5 * scale_x)))
        high = max(1, round(part.shape[0] * min(1.0, 1.5 * scale_y)))
        by_x, by_y = wide / part.shape[1], high / part.shape[0]
        part = resize(part, wide, high)
        x1, y1_part, scale_x, scale_y = x1 * by_x, y1_part * by_y, scale_x / by_x, scale_y / by_y
    # Pixel centres lie at .5, so that the crop does not move with the size of the picture.
    matrix = np.array(
        [[scale_x, 0, (0.5 - x1) * scale_x - 0.5], [0, scale_y, (0.5 - y1_part) * scale_y - 0.5]]
    )
    size = (FACE_SIZE + 2 * margin, FACE_SIZE - top + 2 * margin)
    face = cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.uint8, copy=False)


def _bounds(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels around low..high, at least one of them, inside 0..size."""
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high), first + 1, size))
