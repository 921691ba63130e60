"""Look at a stretch of a video: find its faces, cut their mouths, score them against the audio.

What was looked at so far is one record, so that nothing is lost by stopping early: on Ctrl-C, or because the
answer is certain.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from avsync.core.constants import FRAME_MS, FRAME_RATE, FRAME_S, WINDOW_FRAMES
from avsync.core.errors import Interrupted
from avsync.core.options import CheckOptions
from avsync.core.prefetch import ahead
from avsync.core.records import FaceTrack, Gap, Scores, Span, Speech, Waveform
from avsync.core.report import FaceDistance
from avsync.core.streams import Media
from avsync.core.timing import timed_each
from avsync.faces import follow, motion
from avsync.media.images import Image, encoded
from avsync.networks import ready
from avsync.pipeline.schedule import total

if TYPE_CHECKING:
    from avsync.networks.ready import Ready
    from avsync.networks.syncnet import FaceEmbeddings

Tell = Callable[[str, float, float | None], None]
"""tell(stage, done, total): `total` is None where it is not known."""

MAX_WINDOWS = 400
"""Windows that pass through cross-modal encoders in one file before they are spread thinner: a quarter of a
minute of one face in full. More hardly sharpen the answer, and each costs a thirtieth of a second."""
MAX_EMBEDDED = 10_000
"""MAX_WINDOWS for models without such encoders, whose windows cost a millisecond: seven minutes of one
face."""
MAX_STRIDE = 10
"""Frames; wider steps than 0.4 s would lose evidence and miss local faults, however long the file."""
PIECE_FRAMES = 129
"""Frames of crops in a piece of one face, of which a few are in memory at once; also the step of the progress
bar. 125 more than the overlap: a multiple of five frames, so that every piece cuts the audio alike."""


@dataclass(frozen=True)
class Job:
    """One file and how to look at it. `heard`: where speech is in its audio, `quiet`: where nobody speaks,
    so that lips need not be read; `span`: the stretch of it that is to be checked; `planned_s`: the
    seconds of that which will be looked at, as far as known."""

    media: Media
    audio: Waveform
    heard: Speech
    quiet: tuple[Span, ...]
    loaded: Ready
    options: CheckOptions
    span: Span
    planned_s: float
    tell: Tell
    timings: dict[str, float]


@dataclass(frozen=True)
class Looked:
    """What was found in the stretches `spans`: tracks, the scores of those that have any; by the track's
    number the face as JPEG, how the mouth moves, and SyncNet's distances where it is the model. `stride` in
    frames, None before the first face. `gaps`: stretches without new frames, which no score covers."""

    spans: tuple[Span, ...] = ()
    tracks: tuple[FaceTrack, ...] = ()
    scores: tuple[Scores, ...] = ()
    portraits: dict[int, bytes] = field(default_factory=dict)
    motion: dict[int, motion.Pieces] = field(default_factory=dict)
    stride: int | None = None
    gaps: tuple[Gap, ...] = ()
    distances: dict[int, FaceDistance] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return total(self.spans)


def look(job: Job, before: Looked, span: Span) -> Looked:
    """`before` and what the stretch `span` holds.

    Ctrl-C raises Interrupted with the same, as far as it has come. Raises MediaError when the video cannot
    be decoded, ModelError when the face detector cannot be loaded.
    """
    tracks: list[FaceTrack] = []
    gaps: list[Gap] = []
    stride = before.stride or job.options.stride or auto_stride(job.planned_s, job.loaded)
    looked = replace(
        before,
        portraits=dict(before.portraits),
        motion=dict(before.motion),
        distances=dict(before.distances),
        stride=stride,
    )

    def found(track: FaceTrack, face: Image) -> None:
        tracks.append(track)
        looked.portraits[track.track] = encoded(face, ".jpg")

    def with_all(end_s: float, scores: Sequence[Scores]) -> Looked:
        known = {track.track for track in tracks}
        return replace(
            looked,
            spans=(*before.spans, (span[0], end_s)),
            tracks=(*before.tracks, *tracks),
            scores=(*before.scores, *_outside((s for s in scores if s.track in known), gaps)),
            gaps=(*before.gaps, *gaps),
            stride=stride if before.tracks or tracks else before.stride,
        )

    try:
        scores = _score(job, looked, span, found, gaps.append)
    except KeyboardInterrupt as stop:
        scores = stop.so_far if isinstance(stop, Interrupted) else []
        if not scores:
            raise Interrupted(before) from stop
        end_s = max(float(s.times_s[-1]) + WINDOW_FRAMES * FRAME_S for s in scores)
        raise Interrupted(with_all(end_s, scores)) from stop
    return with_all(span[1], scores)


def _outside(scores: Iterable[Scores], gaps: Sequence[Gap]) -> Iterator[Scores]:
    """The scores without the windows in which a frame is missing."""
    for found in scores:
        kept = np.ones(len(found.times_s), bool)
        for gap in gaps:
            kept &= (found.times_s + WINDOW_FRAMES * FRAME_S <= gap.start_s) | (found.times_s >= gap.end_s)
        if kept.all():
            yield found
        elif kept.any():
            yield replace(found, times_s=found.times_s[kept], logits=found.logits[kept])


def auto_stride(planned_s: float, model: Ready) -> int:
    """Every frame of a short video, then every second, third ... tenth: as much as is affordable of the
    `planned_s` seconds that will be looked at, with one face in them."""
    affordable = MAX_EMBEDDED if model.embeds else MAX_WINDOWS
    return min(MAX_STRIDE, max(1, math.ceil(planned_s * FRAME_RATE / affordable)))


def _score(
    job: Job, looked: Looked, span: Span, found: follow.Found, on_gap: Callable[[Gap], None]
) -> list[Scores]:
    """Scores of the faces in the stretch, each of which is passed to `found`. Crops stream into the model
    while the next are cut; the time it waits for them counts as `faces`."""
    length = span[1] - span[0]
    whole = length >= job.span[1] - job.span[0]
    clips = follow.face_clips(
        job.media,
        found,
        detector=job.options.face_detector,
        first_number=1 + max((track.track for track in looked.tracks), default=-1),
        piece_frames=PIECE_FRAMES,
        # Open ends at the ends of the video, whose length is only what the file says.
        start_s=None if span[0] <= 0 else span[0],
        end_s=None if span[1] >= job.media.duration_s else span[1],
        progress=lambda share: (
            job.tell("faces", share, 1)
            if whole
            else job.tell("survey", looked.seconds + share * length, job.planned_s)
        ),
        on_gap=on_gap,
        kind=job.loaded.crop,
        quiet=job.quiet,
        timings=job.timings,
    )
    # SyncNet's own evaluation is of every frame.
    embeddings = _syncnet_embeddings() if job.loaded.family == "syncnet" and looked.stride == 1 else None
    waited = job.timings.get("faces", 0.0)
    started = time.perf_counter()
    try:
        with (
            closing(clips),
            closing(ahead(motion.watched(clips, looked.motion), 1)) as coming,
        ):
            return ready.score_clips(
                job.loaded,
                timed_each(coming, job.timings, "faces"),
                job.audio,
                max_shift=math.ceil(job.options.max_offset_ms / FRAME_MS),
                stride=looked.stride or 1,
                keep=embeddings.keep if embeddings else None,
            )
    finally:
        if embeddings:
            looked.distances.update(embeddings.distances())
        waited = job.timings.get("faces", 0.0) - waited
        spent = time.perf_counter() - started - waited
        job.timings["scores"] = job.timings.get("scores", 0.0) + spent


def _syncnet_embeddings() -> FaceEmbeddings:
    from avsync.networks.syncnet import FaceEmbeddings

    return FaceEmbeddings()


def in_order(looked: Looked) -> Looked:
    """The same with the tracks in order of time, and numbered so."""
    tracks = sorted(looked.tracks, key=lambda track: (track.start_s, track.track))
    number = {track.track: i for i, track in enumerate(tracks)}
    return replace(
        looked,
        tracks=tuple(replace(track, track=i) for i, track in enumerate(tracks)),
        scores=tuple(
            sorted((replace(s, track=number[s.track]) for s in looked.scores), key=lambda s: s.track)
        ),
        portraits={number[track]: face for track, face in looked.portraits.items() if track in number},
        motion={number[track]: pieces for track, pieces in looked.motion.items() if track in number},
        distances={number[track]: found for track, found in looked.distances.items() if track in number},
    )
