"""Whether a mouth moves: a speaker, or a silent face under a voice-over."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_RATE, FRAME_S, WHOLE_FACE_SIZE, WINDOW_FRAMES
from avsync.core.records import Clip
from avsync.faces.crop import mouths_of
from avsync.media.images import cv2

MOUTH_PART = slice(6, 33), slice(25, 71)
"""Rows and columns of a mouth crop that hold the mouth."""
MAX_JITTER = 6.0
"""A larger motion of the face as a whole, in pixels between two frames, is ignored."""
BLUR = (4, 4)
"""Pixels that are averaged, so that image noise does not count as motion."""
STEP = 2
"""Frames between measurements."""
AROUND_S = 1.0
"""Motion is averaged over this long: a speaker's mouth rests now and then."""
MOVES = 1.2
"""Mean change in grey levels of 255. Of 2.5 s of talking faces of the training lists, nine in ten have 0.9 or
more; of their still images, shaken and made noisy, one in ten has 1.1 or more (30 clips, 2026-11-25)."""

Floats = npt.NDArray[np.float64]
Pieces = list[tuple[Floats, Floats]]
"""Times of measurements, and the motion at each."""


def watched(clips: Iterable[Clip], motion: dict[int, Pieces]) -> Iterator[Clip]:
    """The clips, unchanged; the motion of their mouths is added to `motion` by track."""
    for clip in clips:
        whole = clip.mouths.shape[1] == WHOLE_FACE_SIZE
        looks = mouth_motion(mouths_of(clip.mouths) if whole else clip.mouths)
        times = clip.start_s + STEP * FRAME_S * np.arange(0.5, len(looks))
        motion.setdefault(clip.track, []).append((times, looks))
        yield clip


def mouth_motion(mouths: npt.NDArray[np.uint8]) -> Floats:
    """Mean change of the mouth from every second frame to the next, in grey levels of 255, without the motion
    of the face as a whole: (n, 48, 96, 3) -> ((n - 1) // 2,)."""
    grey = mouths[::STEP, :, :, 1].astype(np.float32)
    size = grey.shape[2], grey.shape[1]
    taper = cv2.createHanningWindow(size, cv2.CV_32F)
    looks = []
    for before, after in itertools.pairwise(grey):
        if np.array_equal(before, after):
            looks.append(0.0)
            continue
        # phaseCorrelate writes into its arguments.
        (x, y), _ = cv2.phaseCorrelate(before.copy(), after.copy(), taper)
        x, y = (x, y) if np.hypot(x, y) < MAX_JITTER else (0.0, 0.0)
        back = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        later = cv2.warpAffine(after, back, size, borderMode=cv2.BORDER_REPLICATE)
        change = np.abs(cv2.blur(later - before, BLUR)[MOUTH_PART])
        looks.append(float(change.mean()))
    return np.array(looks, np.float64)


def moves(pieces: Sequence[tuple[Floats, Floats]], times_s: Floats) -> npt.NDArray[np.bool_]:
    """Whether the mouth moves about each of the windows that start at `times_s` (n,) -> (n,)."""
    looks = [(t, m) for t, m in pieces if len(t)]
    if not looks:
        return np.zeros(len(times_s), bool)
    times, motion = (np.concatenate(column) for column in zip(*looks, strict=True))
    total = np.concatenate([[0.0], np.cumsum(motion)])
    middle = times_s + WINDOW_FRAMES / FRAME_RATE / 2
    first, past = (np.searchsorted(times, middle + d) for d in (-AROUND_S / 2, AROUND_S / 2))
    return total[past] - total[first] >= MOVES * np.maximum(past - first, 1)
