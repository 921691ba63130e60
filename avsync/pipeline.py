"""Where the stages meet: one file in, one Report out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from avsync import audio, coverage, crops, defects, faces, fix, media, motion, offset, speech
from avsync.ahead import ahead, beside
from avsync.calibration import Calibration
from avsync.errors import CannotTell, MediaError, ModelError
from avsync.opencv import Image, encoded
from avsync.options import check_options, number, one_of, plain
from avsync.records import FaceTrack, Media, Report, Scores, Speech, TrackReport, Unjudged, Waveform
from avsync.report import offset_words, summary, timecode
from avsync.settings import (
    FRAME_MS,
    FRAME_RATE,
    FRAME_S,
    METHODS,
    SAMPLE_RATE,
    TOLERANCES_MS,
    WINDOW_FRAMES,
    CheckOptions,
    FixOptions,
)

if TYPE_CHECKING:
    from avsync.weights import Loaded

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total): `total` is None where it is not known."""

MAX_SHIFT_MS = 3_600_000.0
MAX_WINDOWS = 400
"""Windows that pass through cross-modal encoders in one file before they are spread thinner: a quarter of a
minute of one face in full. More hardly sharpen the answer, and each costs a thirtieth of a second."""
MAX_EMBEDDED = 10_000
"""The same for models without such encoders, whose windows cost a millisecond: seven minutes of one face."""
MAX_STRIDE = 10
"""Frames; wider steps than 0.4 s would lose evidence and miss local faults, however long the file."""
BROKEN_OFF_S = 1.0
"""A file is called broken off when its sound is this much shorter than stored (and by 2 % of it)."""
DEMO_OFFSET_MS = 120.0
DEMO_TOLERANCE_MS = 20.0
PIECE_FRAMES = 254
"""Frames of crops in a piece of one face, of which a few are in memory at once; also the step of the progress
bar. 250 more than the overlap: a multiple of five frames, so that every piece cuts the sound alike."""

T = TypeVar("T")


def check(path: str | Path, *, progress: Progress | None = None, **options: Any) -> Report:
    """Measure by how much the audio of a video is early or late, and judge it by a standard.

    `options` are the fields of `settings.CheckOptions`: model, standard, max_offset_ms, max_drift_ms_per_min,
    audio, audio_track, face_detector, device, stride. A file that is fine but cannot be judged gives the
    verdict "cannot-tell" with the reasons. Raises UsageError for a wrong option, MediaError for a file
    that cannot be read, ModelError for a checkpoint that cannot be used.
    """
    return measure(Path(path), check_options(**options), progress)


def fix_offset(
    src: str | Path,
    dst: str | Path,
    *,
    offset_ms: float | None = None,
    force: bool = False,
    dry_run: bool = False,
    method: str = METHODS[0],
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> fix.FixResult:
    """Write `dst`: `src` with its audio in sync.

    `method` "copy" shifts the audio and re-encodes nothing; "retime" also follows drift and jumps, and
    re-encodes the audio track that it judges by, which `announce` is told before. `offset_ms` is the error to
    remove (positive: the audio is early); None measures it, with the same `options` as `check`. Raises
    UsageError for a wrong request, CannotTell when the method is not known to mend the file, MediaError when
    a file cannot be read or written.
    """
    one_of("method", method, METHODS)
    if offset_ms is not None:
        number("offset_ms", offset_ms, -MAX_SHIFT_MS, MAX_SHIFT_MS)
    chosen = FixOptions(offset_ms, force, dry_run, method, check_options(**options))
    return fix.fix_offset(
        Path(src),
        Path(dst),
        chosen,
        measure=lambda path: measure(path, chosen.check, progress),
        progress=progress,
        announce=announce,
    )


# --- One file ----------------------------------------------------------------------------


def measure(path: Path, options: CheckOptions, progress: Progress | None = None) -> Report:
    """`check` with its options already made; the same errors."""
    tell = progress or _silent
    timings: dict[str, float] = {}
    report = Report(
        str(path),
        "cannot-tell",
        standard=options.standard,
        tolerance_ms=tolerance(options.standard, None),
        max_drift_ms_per_min=options.max_drift_ms_per_min,
        model=options.model,
        audio_track=options.audio_track,
        settings=plain(options),
    )
    with _timed(timings, "total"):
        try:
            tell("probe", 0, None)
            with _timed(timings, "probe"):
                found = media.probe(path)
            report = replace(
                report,
                duration_s=found.duration_s,
                tolerance_ms=tolerance(options.standard, found),
                audio_track=options.audio_track if options.audio is None else None,
            )
            report = _judge(found, report, options, tell, timings)
        except CannotTell as error:
            whole = Unjudged(0.0, report.duration_s or 0.0, str(error).rstrip("."))
            report = replace(report, reasons=(str(error),), unjudged=(whole,))
    return replace(report, timings_s=timings)


def tolerance(standard: str, found: Media | None) -> tuple[float, float]:
    """(audio early, audio late) in ms; `netflix` is one frame of the video, 25 a second where unknown."""
    if standard in TOLERANCES_MS:
        return TOLERANCES_MS[standard]
    fps = found.video.fps if found and found.video and found.video.fps else FRAME_RATE
    return float(1000 / fps), float(1000 / fps)


def _judge(
    found: Media, report: Report, options: CheckOptions, tell: Progress, timings: dict[str, float]
) -> Report:
    """The stages after probing, cheapest first, so that a hopeless file costs little."""
    if found.video is None:
        raise MediaError(f"{found.path} has no picture, only sound; give a video file.")
    tell("model", 0, None)
    with _timed(timings, "model"):
        loaded = load_model(options.model, options.device)
        if loaded.model.picture == "face":
            raise ModelError(
                f"{loaded.path} looks at whole faces, but a check cuts out mouths; "
                "judge it with: avsync bench --data."
            )
    tell("audio", 0, None)
    with _timed(timings, "audio"):
        sound = (
            audio.load_audio(options.audio) if options.audio else audio.waveform(found, options.audio_track)
        )
        if audio.is_silent(sound.samples):
            raise CannotTell(f"The audio of {options.audio or found.path} is silent.")
        notes = (*_broken_off(found, sound, options), *audio.audio_condition(sound))
    with beside(speech.listen(sound)) as listening:
        return _compare(found, report, loaded, sound, listening, notes, options, tell, timings)


def _compare(
    found: Media,
    report: Report,
    loaded: Loaded,
    sound: Waveform,
    listening: Future[list[speech.Floats]],
    notes: tuple[str, ...],
    options: CheckOptions,
    tell: Progress,
    timings: dict[str, float],
) -> Report:
    """The stages that look at the picture, while another thread listens for speech."""
    tell("faces", 0, 1)
    with _timed(timings, "faces"):
        tracks = faces.find_tracks(
            found, detector=options.face_detector, progress=lambda share: tell("faces", share, 1)
        )
    if not tracks:
        raise CannotTell(f"No face that lasts was found in {found.path}.")
    stride = options.stride or auto_stride(tracks, loaded)
    watch = Watch({}, {})
    scores = _score(loaded, found, tracks, sound, stride, options, tell, timings, watch)
    if not scores:
        return replace(
            report,
            reasons=(f"No face in {found.path} is seen together with sound for long enough to judge.",),
            tracks=tuple(_track(track, None) for track in tracks),
            unjudged=coverage.unjudged(tracks, (), (), (), found.duration_s),
        )
    with _timed(timings, "offset"):
        report = replace(report, stride=stride)
        calibration = Calibration.from_dict(loaded.calibration)
        heard = speech.heard(listening.result(), sound.start_s)
        return _report(report, tracks, scores, calibration, notes, watch, heard)


@dataclass(frozen=True)
class Watch:
    """What is seen of each track while its crops pass: a picture of the face (JPEG), how the mouth moves."""

    portraits: dict[int, bytes]
    motion: dict[int, motion.Pieces]


def _broken_off(found: Media, sound: Waveform, options: CheckOptions) -> tuple[str, ...]:
    """A note where the sound ends long before the file says so, as after a broken download."""
    if options.audio is not None:
        return ()
    stream = audio.audio_track(found, options.audio_track)
    said_s = stream.start_s + (stream.duration_s or 0.0)
    end_s = sound.start_s + len(sound.samples) / SAMPLE_RATE
    if said_s - end_s <= max(BROKEN_OFF_S, 0.02 * said_s):
        return ()
    return (f"the file breaks off: its sound ends at {timecode(end_s)} instead of {timecode(said_s)}",)


@lru_cache(maxsize=2)
def load_model(name: str, device: str) -> Loaded:
    """The model, loaded once per process and name. Raises ModelError."""
    from avsync import weights

    return weights.load(name, device)


def auto_stride(tracks: Iterable[FaceTrack], model: Loaded) -> int:
    """Every frame while the faces are few and short, then every second, third ... tenth."""
    frames = sum(int(track.seen.sum()) for track in tracks)
    affordable = MAX_EMBEDDED if model.model.embeds else MAX_WINDOWS
    return min(MAX_STRIDE, max(1, math.ceil(frames / affordable)))


def _score(
    loaded: Loaded,
    found: Media,
    tracks: Sequence[FaceTrack],
    sound: Waveform,
    stride: int,
    options: CheckOptions,
    tell: Progress,
    timings: dict[str, float],
    watch: Watch,
) -> list[Scores]:
    """Crops stream into the model while the next are cut; what it waits for them is booked to their stage."""
    from avsync.scores import score_clips

    end_s = max(track.start_s + len(track.boxes) / FRAME_RATE for track in tracks)

    def keep(track: int, face: Image) -> None:
        watch.portraits[track] = encoded(face, ".jpg")

    clips = crops.mouth_clips(found, tracks, piece_frames=PIECE_FRAMES, on_face=keep)
    clips = ahead(motion.watched(clips, watch.motion), 1)
    started = time.perf_counter()
    scores = score_clips(
        loaded,
        _timed_each(clips, timings, "crops"),
        sound,
        max_shift=math.ceil(options.max_offset_ms / FRAME_MS),
        stride=stride,
        progress=lambda stage, done, _total: tell(stage, min(done, end_s), end_s),
    )
    timings["scores"] = time.perf_counter() - started - timings.get("crops", 0.0)
    return scores


def _report(
    report: Report,
    tracks: Sequence[FaceTrack],
    scores: list[Scores],
    calibration: Calibration,
    notes: tuple[str, ...],
    watch: Watch,
    heard: Speech,
) -> Report:
    pooled, own, speaking = offset.judge(scores, calibration)
    weights = offset.track_weights(own).tolist()
    stride = report.stride or 1
    judged_s = offset.judged_share(pooled.segments) * len(
        np.unique(np.concatenate([s.times_s for s in scores]))
    )
    judged_s *= stride * FRAME_S
    speaking_windows = [
        speech.spoken(heard, s.times_s, WINDOW_FRAMES * FRAME_S)
        & motion.moves(watch.motion.get(s.track, ()), s.times_s)
        for s in scores
    ]
    judged = defects.judge(
        pooled,
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        mismatch=defects.mismatched(scores, speaking_windows, calibration, stride * FRAME_S),
    )
    by_track = {
        s.track: TrackReport(s.track, 0, 0, len(s.times_s), o, i == speaking, weights[i])
        for i, (s, o) in enumerate(zip(scores, own, strict=True))
    }
    unjudged = coverage.unjudged(tracks, scores, weights, pooled.segments, report.duration_s or 0.0, stride)
    return replace(
        report,
        verdict=judged.verdict,
        offset_ms=pooled.offset_ms,
        uncertainty_ms=pooled.uncertainty_ms,
        probability=pooled.probability,
        drift_ms_per_min=pooled.drift_ms_per_min,
        drift_uncertainty_ms_per_min=pooled.drift_uncertainty_ms_per_min,
        faults=judged.faults,
        reasons=(*judged.reasons, *notes),
        tracks=tuple(_track(t, by_track.get(t.track), watch.portraits.get(t.track)) for t in tracks),
        segments=pooled.segments,
        judged_s=judged_s,
        speech_s=speech.seconds(heard),
        speech_judged_s=speech.seconds(heard, [(gap.start_s, gap.end_s) for gap in unjudged]),
        unjudged=unjudged,
        score_map=coverage.score_map(scores, weights, calibration),
    )


def _track(track: FaceTrack, judged: TrackReport | None, portrait: bytes | None = None) -> TrackReport:
    end_s = track.start_s + len(track.boxes) / FRAME_RATE
    report = judged or TrackReport(track.track, 0, 0, 0, None)
    return replace(report, start_s=track.start_s, end_s=end_s, portrait=portrait)


def _silent(stage: str, done: float, total: float | None) -> None:
    """Progress for nobody."""


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - started


def _timed_each(items: Iterable[T], timings: dict[str, float], stage: str) -> Iterator[T]:
    """`items`, with the time that making them takes booked to `stage`."""
    source = iter(items)
    while True:
        with _timed(timings, stage):
            item = next(source, None)
        if item is None:
            return
        yield item


# --- Demo --------------------------------------------------------------------------------


@dataclass(frozen=True)
class DemoResult:
    """What `run_demo` made and measured; `agrees` when the known error was found and then gone."""

    clip: Path
    fixed: Path
    offset_ms: float
    before: Report
    after: Report | None
    agrees: bool


def run_demo(
    folder: Path, tell: Callable[[str], None], options: CheckOptions, progress: Progress | None = None
) -> DemoResult:
    """Write a clip with a known error into `folder`, check it, fix it, check it again.

    `tell` gets each step in words. Raises MediaError when the folder cannot be written.
    """
    from avsync.demo import write_demo

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"The folder {folder} cannot be made ({error.strerror}); give another --out."
        ) from error
    clip, fixed = folder / "clip.mp4", folder / "fixed.mp4"
    (progress or _silent)("demo", 0, None)
    write_demo(clip, offset_ms=DEMO_OFFSET_MS)
    tell(f"Wrote {clip}: a made talking face, whose audio is {offset_words(DEMO_OFFSET_MS)}.")
    before = measure(clip, options, progress)
    tell(f"Checked it: {summary(before)}.")
    if before.offset_ms is None or abs(before.offset_ms - DEMO_OFFSET_MS) > DEMO_TOLERANCE_MS:
        return DemoResult(clip, fixed, DEMO_OFFSET_MS, before, None, False)
    shifted = FixOptions(offset_ms=before.offset_ms, force=True, check=options)
    result = fix.fix_offset(
        clip, fixed, shifted, measure=lambda path: measure(path, options), progress=progress
    )
    tell(result.sentence)
    after = measure(fixed, options, progress)
    tell(f"Checked {fixed}: {summary(after)}.")
    agrees = before.verdict == "out-of-sync" and after.verdict == "in-sync"
    return DemoResult(clip, fixed, DEMO_OFFSET_MS, before, after, agrees)
