"""The answer for one file: its offset, what it rests on, and the codes of what to say about it.

Times are seconds of presentation time, offsets milliseconds, positive when the audio is EARLY.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from avsync.core.compared import ByValue
from avsync.core.constants import MAX_DRIFT_MS_PER_MIN, MIN_JUDGED
from avsync.core.errors import SetupError
from avsync.core.records import Span
from avsync.core.timecode import Timebase

if TYPE_CHECKING:
    from pandas import DataFrame

Verdict = Literal["in-sync", "out-of-sync", "mismatch", "partly-judged", "cannot-tell", "error"]
Severity = Literal["slight", "clear", "severe"]
"""Of a local fault: in tolerance or too short to count, out of tolerance, or far out of it."""
ReasonKind = Literal[
    # Why there is no sure offset
    "no-face", "no-face-with-audio", "no-face-judged", "too-brief", "flat", "rival", "at-edge",
    "thin-evidence", "mismatch", "silent", "no-speech", "partly-judged",
    # What differs along the video, and what is close to a limit
    "fault", "mismatch-fault", "hint", "against", "drift", "drift-near-limit", "near-limit", "narrow-limits",
    # What was looked at, and what is wrong with the file
    "stopped", "stopped-at-once", "sampled", "other-audio-track", "audio-breaks-off", "breaks-off",
    "clock-jumps", "edit-list", "unread-end", "no-video-at-end", "no-hardware-decoding",
    "damaged-video", "damaged-audio", "empty-audio", "silent-audio", "clipped-audio", "not-numbers",
    "file-changed", "error",
]  # fmt: skip
"""Codes of what a report says about its answer."""
Cause = Literal[
    "stopped", "not-needed", "excluded", "no-video", "no-frames", "damaged", "no-face", "seen-too-briefly",
    "no-audio", "not-speaking", "too-little-evidence", "silent",
]  # fmt: skip
"""Codes for why a stretch, or a face, was not judged."""


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
    offset of the rest. `fault`: the offset differs from that of the rest, or that of a gap is likelier to be
    that of such a stretch beside it. `own_offset_ms`: measured in this stretch alone, None
    where that is too uncertain. `start_between_s`, `end_between_s`: the 95 % interval, in seconds, of a jump
    of the offset with which it begins or ends."""

    start_s: float
    end_s: float
    offset_ms: float | None
    uncertainty_ms: float | None
    probability: float
    fault: bool = False
    hint_ms: float | None = None
    against: bool = False
    own_offset_ms: float | None = None
    start_between_s: Span | None = None
    end_between_s: Span | None = None


@dataclass(frozen=True)
class Fault:
    """A stretch [start_s, end_s) in seconds that differs from the rest of the video: by its offset (ms), or
    because its lips do not match the speech, a mismatch, which has no offset. `start_between_s` and
    `end_between_s` are as for a segment."""

    start_s: float
    end_s: float
    offset_ms: float | None
    uncertainty_ms: float | None
    probability: float
    severity: Severity
    kind: Literal["offset", "mismatch"] = "offset"
    start_between_s: Span | None = None
    end_between_s: Span | None = None


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
    shifts: npt.NDArray[np.int64] = field(repr=False)
    curve: npt.NDArray[np.float32] = field(repr=False)
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
    """One face track in the report: where it was, and its offset. `speaking` marks the faces that speak;
    `turns` of the report has when. `weight` is how much its windows counted, 0..1; where it did not count,
    `cause` says why. `portrait` is its face as a JPEG image of 96x96 pixels, or None."""

    track: int
    start_s: float
    end_s: float
    windows: int
    offset: Offset | None
    speaking: bool = False
    weight: float = 0.0
    cause: Cause | None = None
    portrait: bytes | None = field(default=None, repr=False)
    syncnet: FaceDistance | None = None
    """SyncNet's own evaluation, where it is the model and every frame was judged."""
    boxes: tuple[tuple[float, float, float, float, float], ...] = field(default=(), repr=False)
    """Once a second: the time, and x1, y1, x2, y2 as fractions of the displayed frame."""
    segments: tuple[Segment, ...] = ()
    """The stretches of this face that were judged, with its own offset in each."""
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
    verdict_probability: float | None = None
    """Probability (0..1) that the verdict is right; None where it leaves the question open."""
    contested: bool = False
    """A good part of the video contradicts the offset, though not clearly enough for a fault."""
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
    score_map: ScoreMap | None = field(default=None, repr=False)
    stride: int | None = None
    """Frames from one judged window to the next; None where none was judged."""
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    """The options of the check, as plain values."""
    runtime: str | None = field(default=None, compare=False, repr=False)
    """What ran the network: a library with its version, and the type of numbers; None where nothing did."""
    timings_s: dict[str, float] = field(default_factory=dict, compare=False, repr=False)
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
