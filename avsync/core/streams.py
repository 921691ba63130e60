"""What a file, or a recording in memory, holds: its streams and its clock.

Times are seconds of presentation time on the container's timeline, except where the container's own clock is
named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.core.records import Span


@dataclass(frozen=True)
class Edit:
    """A stretch of a track that an edit list shows: [media_s, media_s + length_s) of its own clock is
    presented from `start_s` on."""

    start_s: float
    media_s: float
    length_s: float


@dataclass(frozen=True)
class VideoStream:
    """The video. Sizes in pixels as displayed (after rotation), times in seconds."""

    index: int
    """Stream number in the container."""
    codec: str
    width: int
    height: int
    fps: Fraction
    """Average frames per second as stored."""
    start_s: float
    duration_s: float | None
    rotation_deg: int = 0
    """Counter-clockwise turn that a player applies: 0, 90, 180 or -90."""
    interlaced: bool = False
    late_s: float = 0.0
    """How much later frames are presented than the demuxer says: it drops a frame that an edit list cuts in
    two, but moves the next one into its place; and delays fragments by composition offsets below zero."""
    anchors_s: tuple[float, ...] = ()
    """When the grid of 25 frames a second on which it is read begins anew, after `start_s`, where it begins
    first."""
    device: str | None = None
    """Kind of device that decodes it, as in `constants.Hwaccel`; None: the processor."""
    edits: tuple[Edit, ...] = ()
    """What an edit list shows of it, where FFmpeg's demuxer does not follow the list; empty: all that the
    demuxer gives."""
    timecode: str | None = None
    """SMPTE time code of the first frame, as the file stores it: "01:00:00:00"; ";" before the frames is
    drop-frame."""

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next, on average."""
        return self.fps.denominator / self.fps.numerator


@dataclass(frozen=True)
class AudioStream:
    """One audio track. Times in seconds."""

    index: int
    """Stream number in the container."""
    track: int
    """Number among the audio tracks, 0 is the first."""
    codec: str
    rate_hz: int
    channels: int
    start_s: float
    duration_s: float | None
    language: str | None = None
    title: str | None = None
    default: bool = False
    edits: tuple[Edit, ...] = ()
    """As in VideoStream."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Video and audio in memory, on one clock in seconds, for callers that have no file.

    `frames`: uint8 (height, width, 3) RGB images of one size, upright; image i is shown at `times_s[i]`, and
    these times ascend. `samples`: (n,) or (n, channels), floating point in [-1, 1] or integer PCM; there are
    `rate_hz` a second, and the first sounds at `audio_start_s`. `name` is what reports and errors call it.
    """

    frames: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]
    times_s: Sequence[float] | npt.NDArray[np.floating]
    samples: npt.NDArray[Any]
    rate_hz: int
    audio_start_s: float = 0.0
    name: str = "recording"


EARLY_S = 60.0
"""By how much less than its earliest timestamp one may be that is taken to lie before a piece: decoders give
frames that are not presented."""


@dataclass(frozen=True)
class Piece:
    """A run of timestamps without a break: [first_s, past_s) on the container's own clock. What it holds is
    presented `shift_s` seconds later than its timestamps say."""

    first_s: float
    past_s: float
    shift_s: float
    first_byte: int = 0
    """File position at which its packets begin; 0 where its container does not record it."""
    wraps_s: float = math.inf
    """After how many seconds the container's clock starts over at 0. Its timestamps are taken as if it did
    not, within a piece."""

    @property
    def start_s(self) -> float:
        return self.first_s + self.shift_s

    @property
    def end_s(self) -> float:
        return self.past_s + self.shift_s

    @property
    def length_s(self) -> float:
        return self.past_s - self.first_s

    def presented_s(self, time_s: float) -> float:
        """When what has that timestamp is presented."""
        if self.wraps_s < math.inf:
            time_s -= self.wraps_s * math.floor((time_s - self.first_s + EARLY_S) / self.wraps_s)
        return time_s + self.shift_s


@dataclass(frozen=True)
class Media:
    """What a file holds, as probed."""

    path: Path
    container: str
    duration_s: float
    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    stream_kinds: tuple[str, ...]
    """Kind of every stream in order: video, audio, subtitle, data, attachment (cover art is an
    attachment)."""
    origin_s: float = 0.0
    """The container's own timestamp that counts as second 0: MPEG streams start at any number,
    others at 0."""
    pieces: tuple[Piece, ...] = ()
    """The runs of timestamps, in the order of the file; one unless the clock starts over or jumps."""
    wild: frozenset[tuple[int, int]] = frozenset()
    """Packets whose timestamps lie among others where they cannot belong, and which are not presented: number
    of the stream, and of the packet among those of the stream that have timestamps."""
    turns: tuple[tuple[int, int, int], ...] = ()
    """Packets, named alike, with which a stream goes over to another piece, and the number of that. Each
    stream begins in the first piece."""
    holes: tuple[Span, ...] = ()
    """Stretches for which no stream has a packet, as where a file is corrupt."""
    header_s: float | None = None
    """The length that the header claims, where the packets contradict it."""
    recording: Recording | None = None
    """Where the media are if they are in memory; `path` is its name then."""
    window: tuple[int, int] | None = None
    """The bytes [first, past) of the file in which it lies; None: all."""
    parts: tuple[Media, ...] = ()
    """The recordings that the file consists of, on its timeline, where they are joined and each has to be
    opened by itself. The other fields then are those of the first, or of all where they count."""
    unread_bytes: int = 0
    """Bytes behind the last packet that can be read, where they are too many for an index."""
