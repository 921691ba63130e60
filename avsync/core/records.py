"""Frozen records that pass between the stages: Media, FaceTrack, Clip, Scores, Offset, Report.

One clock everywhere: seconds of presentation time on the container's timeline (what a player
shows), so a stream that starts late has a start greater than zero. Frame numbers exist only
inside clips and scores. Offsets are in milliseconds and positive when the audio is EARLY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from avsync.core.compared import ByValue
from avsync.core.constants import MAX_DRIFT_MS_PER_MIN, MIN_JUDGED
from avsync.core.errors import SetupError
from avsync.core.timecode import Timebase

if TYPE_CHECKING:
    from pandas import DataFrame

Verdict = Literal["in-sync", "out-of-sync", "mismatch", "partly-judged", "cannot-tell", "error"]
Span = tuple[float, float]
"""A stretch [start, end) of a video, in seconds."""
Severity = Literal["slight", "clear", "severe"]
"""Of a local fault: in tolerance or too short to count, out of tolerance, or far out of it."""
ReasonKind = Literal[
    # Why there is no sure offset
    "no-face", "no-face-with-audio", "no-face-judged", "too-brief", "flat", "rival", "at-edge",
    "thin-evidence", "mismatch", "silent", "no-speech", "partly-judged",
    # What differs along the video, and what is close to a limit
    "fault", "mismatch-fault", "hint", "against", "drift", "drift-near-limit", "near-limit",
    # What was looked at, and what is wrong with the file
    "stopped", "stopped-at-once", "sampled", "other-audio-track", "audio-breaks-off", "breaks-off",
    "clock-jumps", "unread-end", "no-video-at-end",
    "damaged-video", "damaged-audio", "empty-audio", "silent-audio", "clipped-audio", "not-numbers",
    "file-changed", "error",
]  # fmt: skip
"""Codes of what a report says about its answer."""
Cause = Literal[
    "stopped", "not-needed", "excluded", "no-video", "no-frames", "damaged", "no-face", "seen-too-briefly",
    "no-audio", "not-speaking", "too-little-evidence", "silent",
]  # fmt: skip
"""Codes for why a stretch, or a face, was not judged."""


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
    two, but moves the next one into its place."""
    timecode: str | None = None
    """SMPTE time code of the first frame, as the file stores it: "01:00:00:00"; ";" before the frames is
    drop-frame."""


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


@dataclass(frozen=True)
class Piece:
    """A run of timestamps without a break: [first_s, past_s) on the container's own clock. What it holds is
    presented `shift_s` seconds later than its timestamps say, or not at all where it is `stray`: packets with
    wild timestamps among others."""

    first_s: float
    past_s: float
    shift_s: float
    stray: bool = False

    @property
    def start_s(self) -> float:
        return self.first_s + self.shift_s

    @property
    def end_s(self) -> float:
        return self.past_s + self.shift_s


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
    holes: tuple[Span, ...] = ()
    """Stretches for which no stream has a packet, as where a file is corrupt."""
    header_s: float | None = None
    """The length that the header claims, where the packets contradict it."""
    recording: Recording | None = None
    """Where the media are if they are in memory; `path` is its name then."""
    unread_bytes: int = 0
    """Bytes behind the last packet that can be read, where they are too many for an index."""


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
    as several clips that overlap by four frames, so that no window of five frames is lost."""

    track: int
    start_s: float
    mouths: npt.NDArray[np.uint8]


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


@dataclass(frozen=True, eq=False)
class Reason(ByValue):
    """Something to report about an answer: a code, and the plain values that its sentence names, with their
    units in their names. `report.reasons` has the sentences."""

    kind: ReasonKind
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """Offset of one stretch: [start_s, end_s) in seconds, ms, probability 0..1.
    `offset_ms` is shared by all stretches that agree; None where there is too little evidence (a gap). A gap
    that points to an offset other than that of the rest has it in `hint_ms`; `against`: it contradicts the
    offset of the rest. `fault`: the offset differs from that of the rest. `own_offset_ms`: measured in this
    stretch alone, None where that is too uncertain."""

    start_s: float
    end_s: float
    offset_ms: float | None
    uncertainty_ms: float | None
    probability: float
    fault: bool = False
    hint_ms: float | None = None
    against: bool = False
    own_offset_ms: float | None = None


@dataclass(frozen=True)
class Fault:
    """A stretch [start_s, end_s) in seconds that differs from the rest of the video: by its offset (ms), or
    because its lips do not say the speech, a mismatch, which has no offset."""

    start_s: float
    end_s: float
    offset_ms: float | None
    uncertainty_ms: float | None
    probability: float
    severity: Severity
    kind: Literal["offset", "mismatch"] = "offset"


@dataclass(frozen=True, eq=False)
class Offset(ByValue):
    """The answer from one track's scores.

    `offset_ms` positive when the audio is early; None when there is no usable peak.
    `uncertainty_ms` is half the width of an interval that holds for 95 % of the answers that are right.
    `probability` (0..1, calibrated) that the true offset is within one frame (40 ms) of `offset_ms`.
    `evidence` is the height of the peak over the rest in units of its noise. `curve` (n_shifts,) float32:
    averaged logits.
    `drift_ms_per_min`, and half its 95 % interval, are None when the drift is not known, 0 where none is
    seen. `reasons`: why not sure.
    """

    offset_ms: float | None
    uncertainty_ms: float | None
    probability: float
    evidence: float
    at_edge: bool
    shifts: npt.NDArray[np.int64]
    curve: npt.NDArray[np.float32]
    segments: tuple[Segment, ...] = ()
    drift_ms_per_min: float | None = None
    drift_uncertainty_ms_per_min: float | None = None
    drift_possible_ms_per_min: float | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class FaceDistance:
    """SyncNet's own answer for a face: `offset` in frames (positive: the audio is early), the smallest mean
    distance (LSE-D), and its `confidence`, by how much that lies under the median (LSE-C), over `windows`."""

    offset: int
    distance: float
    confidence: float
    windows: int


@dataclass(frozen=True)
class TrackReport:
    """One face track in the report: where it was, and its offset. `speaking` marks the track that the
    verdict comes from. `weight` is how much its windows counted, 0..1; where it did not count, `cause` says
    why. `portrait` is its face as a JPEG image of 96x96 pixels, or None."""

    track: int
    start_s: float
    end_s: float
    windows: int
    offset: Offset | None
    speaking: bool = False
    weight: float = 0.0
    cause: Cause | None = None
    portrait: bytes | None = None
    syncnet: FaceDistance | None = None
    """SyncNet's own evaluation, where it is the model and every frame was judged."""
    boxes: tuple[tuple[float, float, float, float, float], ...] = ()
    """Once a second: the time, and x1, y1, x2, y2 as fractions of the displayed frame."""
    segments: tuple[Segment, ...] = ()
    """The stretches of this face that were judged, with the offsets that it has in each by itself."""
    outline: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """(n, 4): its boxes 25 times a second from `start_s` on; None in a report that was read from a
    document."""


@dataclass(frozen=True)
class Unjudged:
    """A stretch [start_s, end_s) in seconds that the verdict does not cover, and why. `hint_ms`: the
    offset that its weak evidence points to, where that differs from the rest."""

    start_s: float
    end_s: float
    cause: Cause
    hint_ms: float | None = None


@dataclass(frozen=True)
class Turn:
    """Speech in [start_s, end_s) and the number of the track whose face says it, with the offset (ms) that
    this face has there and the probability (0..1) that it speaks; None, 0 where no visible face does."""

    start_s: float
    end_s: float
    track: int | None
    offset_ms: float | None
    probability: float


@dataclass(frozen=True, eq=False)
class ScoreMap(ByValue):
    """How well lips and audio fit along the video, for people to look at.

    `values` float32 (n_spans, n_offsets): mean log-likelihood ratio of the windows in each span, NaN where
    there is none; span i begins at start_s + i * step_s. `offsets_ms` float64 (n_offsets,), descending;
    positive when the audio is early.
    """

    start_s: float
    step_s: float
    offsets_ms: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Report(ByValue):
    """The result for one file; `avsync.check` returns it. Equal ones say the same, however long it took."""

    path: str
    verdict: Verdict
    offset_ms: float | None = None
    uncertainty_ms: float | None = None
    probability: float = 0.0
    standard: str = "ebu"
    tolerance_ms: tuple[float, float] = (40.0, 60.0)
    """Audio early, audio late."""
    drift_ms_per_min: float | None = None
    drift_uncertainty_ms_per_min: float | None = None
    drift_possible_ms_per_min: float | None = None
    """A drift up to this size could be hidden; None where it was not looked for or one was found."""
    max_drift_ms_per_min: float = MAX_DRIFT_MS_PER_MIN
    faults: tuple[Fault, ...] = ()
    contested: bool = False
    """A good part of the video speaks against the offset, though not clearly enough for a fault."""
    reasons: tuple[Reason, ...] = ()
    tracks: tuple[TrackReport, ...] = ()
    segments: tuple[Segment, ...] = ()
    """The judged stretches, in order of time; `unjudged` has the rest."""
    turns: tuple[Turn, ...] = ()
    """Who speaks when."""
    duration_s: float | None = None
    timebase: Timebase | None = None
    """How frames of the file are numbered and labelled; None where its video is not known."""
    judged_s: float = 0.0
    """Seconds of video with a face that the answer covers."""
    speech_s: float | None = None
    """Seconds of speech in the audio, as far as the video lasts."""
    speech_seen_s: float | None = None
    """Seconds of it over a visible face whose mouth moves or whose lips fit it."""
    speech_judged_s: float | None = None
    """Seconds of that in stretches that were judged."""
    min_judged: float = MIN_JUDGED
    """Share (0..1) of `speech_seen_s` that must be judged for "in sync"."""
    min_fault_s: float = 0.0
    """Local faults shorter than this are listed as slight, and do not put the video out of sync."""
    model: str = ""
    audio_track: int | None = None
    unjudged: tuple[Unjudged, ...] = ()
    complete: bool = True
    """False where the check was stopped early, so that it covers `looked_at` only."""
    looked_at: tuple[Span, ...] = ()
    """The stretches [start, end) in seconds that were searched for faces and judged where there were any."""
    score_map: ScoreMap | None = None
    stride: int | None = None
    """Frames from one judged window to the next; None where none was judged."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The options of the check, as plain values."""
    timings_s: dict[str, float] = field(default_factory=dict, compare=False)
    """Seconds by stage: probe, model, audio, faces (and their crops: what the scores waited for), scores,
    offset, total. Stages that overlap in time are counted once."""

    def to_dict(self) -> dict[str, Any]:
        """The document of `avsync check --json` without its sentences: plain values, rounded, with units in
        the names and None for what is unknown. Curves, images and the score map are not in it."""
        from avsync.core import document

        return document.to_dict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Report:
        """The report of a document that `to_dict` or `avsync check --json` made; `to_dict` gives it again.

        Raises:
            ValueError: it is not such a document, or one of another version.
        """
        from avsync.core.document import from_dict

        return from_dict(document)

    def to_frame(self) -> DataFrame:
        """A pandas DataFrame of the judged and unjudged stretches and the faults, one row each in order of
        time, with the columns path, kind, start_s, end_s, offset_ms, own_offset_ms, uncertainty_ms,
        probability, cause, severity.

        Raises:
            SetupError: pandas is not installed.
        """
        from avsync.core import document

        try:
            import pandas as pd
        except ImportError as error:
            raise SetupError("to_frame needs pandas; install it with: pip install pandas") from error
        return pd.DataFrame(document.rows(self), columns=document.COLUMNS)
