"""Look at a stretch of a video: find its faces, cut their mouths, score them against the sound.

What was looked at so far is one record, so that stopping early, by Ctrl-C or because the answer is certain,
leaves all of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from avsync.core.constants import FRAME_MS, FRAME_RATE, FRAME_S, WINDOW_FRAMES
from avsync.core.errors import Interrupted
from avsync.core.options import CheckOptions
from avsync.core.prefetch import ahead
from avsync.core.records import FaceTrack, Media, Scores, Span, Waveform
from avsync.faces import crop, motion, track
from avsync.media.images import Image, encoded
from avsync.pipeline.schedule import total

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded

Tell = Callable[[str, float, float | None], None]
"""tell(stage, done, total): `total` is None where it is not known."""

MAX_WINDOWS = 400
"""Windows that pass through cross-modal encoders in one file before they are spread thinner: a quarter of a
minute of one face in full. More hardly sharpen the answer, and each costs a thirtieth of a second."""
MAX_EMBEDDED = 10_000
"""The same for models without such encoders, whose windows cost a millisecond: seven minutes of one face."""
MAX_STRIDE = 10
"""Frames; wider steps than 0.4 s would lose evidence and miss local faults, however long the file."""
PIECE_FRAMES = 254
"""Frames of crops in a piece of one face, of which a few are in memory at once; also the step of the progress
bar. 250 more than the overlap: a multiple of five frames, so that every piece cuts the sound alike."""

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One file and how to look at it. `planned_s`: seconds of it that will be looked at, as far as known."""

    media: Media
    sound: Waveform
    loaded: Loaded
    options: CheckOptions
    planned_s: float
    tell: Tell
    timings: dict[str, float]


@dataclass(frozen=True)
class Looked:
    """What was found in the stretches `spans`: tracks, the scores of those that have any; by the track's
    number the face as JPEG, and how the mouth moves. `stride` in frames, None before the first face.
    `undecoded`: stretches whose picture could not be decoded."""

    spans: tuple[Span, ...] = ()
    tracks: tuple[FaceTrack, ...] = ()
    scores: tuple[Scores, ...] = ()
    portraits: dict[int, bytes] = field(default_factory=dict)
    motion: dict[int, motion.Pieces] = field(default_factory=dict)
    stride: int | None = None
    undecoded: tuple[Span, ...] = ()

    @property
    def seconds(self) -> float:
        return total(self.spans)


def look(job: Job, before: Looked, span: Span) -> Looked:
    """`before` and what the stretch `span` holds.

    Ctrl-C raises Interrupted with the same, as far as it has come. Raises MediaError when the picture cannot
    be decoded, ModelError when the face detector cannot be loaded.
    """
    undecoded: list[Span] = []
    try:
        with timed(job.timings, "faces"):
            tracks = _find(job, before, span, undecoded.append)
    except KeyboardInterrupt as stop:
        raise Interrupted(before) from stop
    before = replace(before, undecoded=(*before.undecoded, *undecoded))
    if not tracks:
        return replace(before, spans=(*before.spans, span))
    share = (before.seconds + span[1] - span[0]) / job.planned_s
    found = replace(
        before,
        tracks=(*before.tracks, *tracks),
        portraits=dict(before.portraits),
        motion=dict(before.motion),
    )
    stride = before.stride or job.options.stride or auto_stride(found.tracks, job.loaded, share)
    found = replace(found, stride=stride)
    try:
        scores = _score(job, found, span, tracks)
    except Interrupted as stop:
        scores = stop.so_far
        if not scores:
            raise Interrupted(before) from stop
        end = max(float(s.times_s[-1]) + WINDOW_FRAMES * FRAME_S for s in scores)
        reached = [track for track in tracks if track.start_s < end]
        found = replace(found, tracks=(*before.tracks, *reached))
        raise Interrupted(_with(found, (span[0], end), scores)) from stop
    return _with(found, span, scores)


def _with(found: Looked, span: Span, scores: Sequence[Scores]) -> Looked:
    return replace(found, spans=(*found.spans, span), scores=(*found.scores, *scores))


def _find(job: Job, before: Looked, span: Span, on_gap: Callable[[Span], None]) -> list[FaceTrack]:
    """The faces of the stretch, numbered on from those before; `on_gap` as in `media.frames`."""
    length = span[1] - span[0]
    found = track.find_tracks(
        job.media,
        detector=job.options.face_detector,
        # Open ends at the ends of the video, whose length is only what the file says.
        start_s=None if span[0] <= 0 else span[0],
        end_s=None if span[1] >= job.media.duration_s else span[1],
        progress=lambda share: (
            job.tell("faces", share, 1)
            if length >= job.media.duration_s
            else job.tell("survey", before.seconds + share * length / 2, job.planned_s)
        ),
        on_gap=on_gap,
    )
    return [replace(track, track=len(before.tracks) + track.track) for track in found]


def auto_stride(tracks: Iterable[FaceTrack], model: Loaded, share: float = 1.0) -> int:
    """Every frame while the faces are few and short, then every second, third ... tenth. `share` (0..1) of
    what will be looked at is what these tracks come from."""
    frames = sum(int(track.seen.sum()) for track in tracks) / share
    affordable = MAX_EMBEDDED if model.model.embeds else MAX_WINDOWS
    return min(MAX_STRIDE, max(1, math.ceil(frames / affordable)))


def _score(job: Job, found: Looked, span: Span, tracks: Sequence[FaceTrack]) -> list[Scores]:
    """Crops stream into the model while the next are cut; what it waits for them is booked to their stage.
    Faces and motion are added to those in `found`."""
    from avsync.networks.scoring import score_clips

    length = span[1] - span[0]
    end_s = max(track.start_s + len(track.boxes) / FRAME_RATE for track in tracks)

    def keep(track: int, face: Image) -> None:
        found.portraits[track] = encoded(face, ".jpg")

    def progress(stage: str, done: float, _total: float | None) -> None:
        if length >= job.media.duration_s:
            job.tell(stage, min(done, end_s), end_s)
        else:
            part = (length + min(done, span[1]) - span[0]) / 2
            job.tell("survey", found.seconds + part, job.planned_s)

    clips = crop.mouth_clips(job.media, tracks, piece_frames=PIECE_FRAMES, on_face=keep)
    clips = ahead(motion.watched(clips, found.motion), 1)
    waited = job.timings.get("crops", 0.0)
    started = time.perf_counter()
    try:
        return score_clips(
            job.loaded,
            timed_each(clips, job.timings, "crops"),
            job.sound,
            max_shift=math.ceil(job.options.max_offset_ms / FRAME_MS),
            stride=found.stride or 1,
            progress=progress,
        )
    finally:
        waited = job.timings.get("crops", 0.0) - waited
        spent = time.perf_counter() - started - waited
        job.timings["scores"] = job.timings.get("scores", 0.0) + spent


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
    )


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the seconds that the block takes to `stage`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - started


def timed_each(items: Iterable[T], timings: dict[str, float], stage: str) -> Iterator[T]:
    """`items`, with the time that making them takes booked to `stage`."""
    source = iter(items)
    while True:
        with timed(timings, stage):
            item = next(source, None)
        if item is None:
            return
        yield item
