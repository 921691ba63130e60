"""Detect where shots begin, frame by frame, from how the structure of the video changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_S
from avsync.media.images import Image, resize

Structure = npt.NDArray[np.float32]
F = TypeVar("F", bound=Any)

LOOK_AHEAD = 6
"""Frames compared on either side of a possible cut; a scene that returns within them (a flash) is not cut."""
CUT_FLOOR = 0.1
"""Least `change` from one frame to the next that can be a cut, in a still scene."""
CUT_RATIO = 3.5
"""By how much of the motion around it a change must exceed that. Cuts in real footage measured 0.15 to
1.1 with motion up to 0.05; a head that turns in a close-up 0.15 to 0.3 with motion from 0.03 to 0.07."""
EPSILON_S = 1e-4
NOISE_POWER = 16.0
"""Squared brightness (0..255) per value below which an image counts as flat."""


def shots(
    video: Iterable[F], structure_of: Callable[[F], Structure] | None = None
) -> Iterator[tuple[F, bool, bool]]:
    """Each frame with whether it is the first and whether it is the last of its shot. `structure_of` makes of
    a frame what `structure` makes of its image.

    Holds back LOOK_AHEAD + 1 frames, however long the video.
    """
    held: tuple[F, bool] | None = None
    for frame, first in _beginnings(video, structure_of or (lambda frame: structure(frame.image))):
        if held is not None:
            yield *held, first
        held = frame, first
    if held is not None:
        yield *held, True


SMALL_SIZE = 32, 24
"""Width and height of the copy that a structure is made of."""


def structure(image: Image) -> Structure:
    """The image (h, w, 3) as a vector of 32x24x3 values without the mean of each colour."""
    small = resize(image, *SMALL_SIZE).astype(np.float32)
    return (small - small.mean((0, 1))).ravel()


def change(a: Structure, b: Structure) -> float:
    """How unlike two structures are: 0 alike, 1 unrelated, 2 opposite.

    Brightness and contrast do not count (flashes, fades), and flat frames are alike.
    """
    noise = NOISE_POWER * len(a)
    return float(1 - (a @ b + noise) / (np.sqrt((a @ a) * (b @ b)) + noise))


def is_cut(before: Sequence[Structure], after: Sequence[Structure], steps: Sequence[float]) -> bool:
    """Whether a shot begins with the first of `after`.

    `steps` are the changes from frame to frame through `before` and `after`, in order.
    """
    at = len(before) - 1
    here = steps[at]
    if here < CUT_FLOOR or here < max(steps[max(0, at - 1) : at + 2]):
        return False
    # The second largest of the steps around: one more cut nearby is not motion, and of a video that was
    # stored at 10 frames a second most steps are zero. The nearest belong to a cut blended over two frames.
    around = sorted([*steps[: max(0, at - 1)], *steps[at + 2 :]])
    motion = around[-2] if len(around) > 1 else 0.0
    if here < CUT_FLOOR + CUT_RATIO * motion:
        return False
    # After a flash the old scene returns, after a cut it does not.
    return min(change(old, new) for old in before for new in after) >= here / 2


def _beginnings(video: Iterable[F], structure_of: Callable[[F], Structure]) -> Iterator[tuple[F, bool]]:
    """Each frame with whether a shot begins there, LOOK_AHEAD frames late. One always does where the grid of
    frames begins anew."""
    held: deque[tuple[F, Structure]] = deque()
    past: deque[Structure] = deque(maxlen=LOOK_AHEAD)
    steps: deque[float] = deque(maxlen=2 * LOOK_AHEAD)
    latest: Structure | None = None
    before_s = None
    for frame in video:
        if before_s is not None and abs(frame.time_s - before_s - FRAME_S) > EPSILON_S:
            while held:
                yield _judged(held, past, steps)
            past.clear()
            steps.clear()
            latest = None
        before_s = frame.time_s
        now = structure_of(frame)
        if latest is not None:
            steps.append(change(latest, now))
        latest = now
        held.append((frame, now))
        if len(held) > LOOK_AHEAD:
            yield _judged(held, past, steps)
    while held:
        yield _judged(held, past, steps)


def _judged(held: deque[tuple[F, Structure]], past: deque[Structure], steps: deque[float]) -> tuple[F, bool]:
    """Takes the oldest of `held`, and says whether a shot begins there."""
    known = len(past) + len(held) - 1
    first = not past or is_cut(past, [s for _, s in held], list(steps)[-known:])
    frame, now = held.popleft()
    past.append(now)
    return frame, first
