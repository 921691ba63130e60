"""Video and audio that a caller holds in memory, instead of a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avsync.core.constants import FRAME_RATE
from avsync.core.errors import UsageError
from avsync.core.streams import AudioStream, Media, Recording, VideoStream
from avsync.media.decode import Damage

MAX_CHANNELS = 64
"""FFmpeg's limit; more are samples with the channels first."""


def described(recording: Recording) -> Media:
    """A recording described as `probe.probe` describes a file.

    Raises:
        UsageError: its arrays do not have the shapes, types or order that Recording names.
    """
    times = np.asarray(recording.times_s, np.float64)
    count = len(recording.frames)
    if times.shape != (count,):
        raise UsageError(f"{recording.name} has {count} frames but {times.size} times; each frame needs one.")
    if not count or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise UsageError(f"The times of {recording.name} must be seconds that ascend, at least one.")
    first = np.asarray(recording.frames[0])
    if first.dtype != np.uint8 or first.ndim != 3 or first.shape[2] != 3:
        raise UsageError(f"The frames of {recording.name} must be uint8 arrays (height, width, 3) in RGB.")
    samples = np.asarray(recording.samples)
    channels = samples.shape[1] if samples.ndim == 2 else 1
    usable = samples.ndim in (1, 2) and samples.dtype.kind in "fiu" and channels <= MAX_CHANNELS
    if not usable or recording.rate_hz <= 0:
        raise UsageError(
            f"The samples of {recording.name} must be numbers (n,) or (n, channels) with a rate in Hz."
        )
    length_s = len(samples) / recording.rate_hz
    steps = np.diff(times)
    frame_s = float(np.mean(steps)) if len(steps) else 1 / FRAME_RATE
    height, width = first.shape[:2]
    video = VideoStream(
        index=0,
        codec="rawvideo",
        width=width,
        height=height,
        fps=Fraction(1 / frame_s).limit_denominator(1001),
        start_s=float(times[0]),
        duration_s=float(times[-1] - times[0]) + frame_s,
    )
    audio = AudioStream(
        1, 0, "pcm", recording.rate_hz, channels, recording.audio_start_s, length_s, default=True
    )
    end_s = max(float(times[-1]) + frame_s, recording.audio_start_s + length_s)
    return Media(
        path=Path(recording.name),
        container="memory",
        duration_s=end_s,
        video=video,
        audio=(audio,) if length_s else (),
        stream_kinds=("video", "audio") if length_s else ("video",),
        recording=recording,
    )


def frames_of(
    recording: Recording, start_s: float, damage: Damage
) -> Iterator[tuple[float, float, VideoFrame]]:
    """(time_s, length_s, frame) of its frames, from shortly before `start_s` on; length 0 means that it is
    not known.

    Raises UsageError for a frame of another size or type than the first.
    """
    times = np.asarray(recording.times_s, np.float64)
    first = max(0, bisect_right(times, start_s) - 2)
    shape = np.asarray(recording.frames[0]).shape
    for number in range(first, len(times)):
        image = np.asarray(recording.frames[number])
        if image.shape != shape or image.dtype != np.uint8:
            raise UsageError(f"Frame {number} of {recording.name} is not uint8 {shape} like the first.")
        time_s = float(times[number])
        damage.starts.append(time_s)
        damage.ends.append(time_s)
        yield time_s, 0.0, VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
