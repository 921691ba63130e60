"""Frozen records that pass between the stages: Frame, Waveform, FaceTrack, Clip, Scores.

There is one clock: seconds of presentation time on the container's timeline (what a player shows), so a
stream that starts late has a start greater than zero. Frame numbers exist only inside clips and scores.
Offsets are in milliseconds, positive when the audio is EARLY. `streams` has what a file holds, `report` the
answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.compared import ByValue

Span = tuple[float, float]
"""A stretch [start, end) of a video, in seconds."""


@dataclass(frozen=True)
class Gap:
    """A stretch [start_s, end_s) in which a video has no new frame and the one before it stays on the screen:
    what it holds could not be decoded (`damaged`), or it holds nothing there."""

    start_s: float
    end_s: float
    damaged: bool


@dataclass(frozen=True, eq=False)
class Frame(ByValue):
    """One decoded frame: `image` uint8 (height, width, 3) RGB, shown at `time_s`."""

    time_s: float
    image: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Waveform(ByValue):
    """Mono audio at 16 kHz. `samples` float32 (n,) in about [-1, 1] (maybe memory-mapped);
    sample i is heard at start_s + i / 16000."""

    samples: npt.NDArray[np.float32]
    start_s: float
    damaged: int = 0
    """How many decoded values were not a number or infinite, and were replaced by silence."""
    undecoded: tuple[Span, ...] = ()
    """Stretches that could not be decoded, and were replaced by silence."""
    gaps: tuple[Span, ...] = ()
    """Stretches without samples, `undecoded` or not, which `samples` fills with silence."""


@dataclass(frozen=True, eq=False)
class Speech(ByValue):
    """Probability of speech, float32 (n,) 0..1, in each `step_s` seconds from `start_s` on; NaN where the
    detector did not run."""

    start_s: float
    step_s: float
    probability: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FaceTrack(ByValue):
    """One face through one shot, sampled at 25 frames a second.

    `boxes` float32 (n, 4): x1, y1, x2, y2 as fractions of the displayed frame (0..1);
    frame i is shown at start_s + i / 25. `seen` bool (n,): False where the box is
    bridged over a gap too long to trust. `confidence` is the detector's mean score, 0..1.
    """

    track: int
    shot: int
    start_s: float
    boxes: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]
    confidence: float


@dataclass(frozen=True, eq=False)
class Clip(ByValue):
    """Consecutive mouth crops of one track: `mouths` uint8 (n, 48, 96, 3) RGB, or whole faces
    (n, 224, 224, 3) for networks that look at those; frame i is shown at start_s + i / 25. A long track comes
    as several clips that overlap by four frames, so that no window of five frames is lost. `whole`: whether
    it is all of a stretch in which the face is seen without a break, rather than a piece of one."""

    track: int
    start_s: float
    mouths: npt.NDArray[np.uint8]
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Scores(ByValue):
    """Synchrony logits of one track.

    `logits` float32 (n_windows, n_shifts): higher is better; NaN where the audio or the video of that
    pair does not exist. `times_s` float64 (n_windows,): presentation time of each window's
    first frame. `shifts` int64 (n_shifts,): ascending; shift k pairs the video at t with the
    audio at t + k/25 s, so the synchrony error that it stands for is -40 * k ms.
    """

    track: int
    times_s: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings(ByValue):
    """What independent encoders make of one track, n windows of 0.2 s.

    `times_s` float64 (n,): presentation time of each window's first frame. `visual` float32 (n, d): of its
    lips. `audio` float32 (n, d): of the audio of the same time, NaN where there is none. How well lips and
    audio of any two windows fit is what `score_matrix` gives for them: for most models, the dot product.
    """

    track: int
    times_s: npt.NDArray[np.float64]
    visual: npt.NDArray[np.float32]
    audio: npt.NDArray[np.float32]
