"""Where the stages meet: one file in, one Report out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsync import audio, coverage, defects, fix, motion, offset, probe, sampling, speech, survey
from avsync.ahead import beside
from avsync.calibration import Calibration
from avsync.errors import CannotTell, Interrupted, MediaError, ModelError
from avsync.options import check_options, number, one_of, plain
from avsync.records import FaceTrack, Media, Report, Span, Speech, TrackReport, Unjudged, Verdict, Waveform
from avsync.report import timecode
from avsync.settings import (
    FRAME_RATE,
    FRAME_S,
    METHODS,
    MIN_SPEECH_S,
    SAMPLE_RATE,
    SAMPLES,
    TOLERANCES_MS,
    WINDOW_FRAMES,
    CheckOptions,
    FixOptions,
)
from avsync.survey import timed

if TYPE_CHECKING:
    from avsync.weights import Loaded

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total): `total` is None where it is not known."""

MAX_SHIFT_MS = 3_600_000.0
BROKEN_OFF_S = 1.0
"""A file is called broken off when its sound is this much shorter than stored (and by 2 % of it)."""
LEAST_LOST_S = 0.1
"""A file is called damaged from so much on that could not be decoded."""


def check(path: str | Path, *, progress: Progress | None = None, **options: Any) -> Report:
    """Measure by how much the audio of a video is early or late, and judge it by a standard.

    `options` are the fields of `settings.CheckOptions`: model, standard, max_offset_ms, max_drift_ms_per_min,
    audio, audio_track, face_detector, device, stride, sample. A file that is fine but cannot be judged gives
    the verdict "cannot-tell" with the reasons. Raises UsageError for a wrong option, MediaError for a file
    that cannot be read, ModelError for a checkpoint that cannot be used. Ctrl-C raises Interrupted, a
    KeyboardInterrupt whose `so_far` is the Report on what was judged by then.
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
    if method == "retime" and options.get("sample", SAMPLES[0]) == SAMPLES[0]:
        # Each cut and each stretch between two of them must be known.
        options["sample"] = "exhaustive"
    check_by = check_options(**options)
    if method == "retime" and check_by.sample == SAMPLES[0]:
        # Where a jump lies can be told only where the video was looked at.
        check_by = replace(check_by, sample="exhaustive")
    chosen = FixOptions(offset_ms, force, dry_run, method, check_by)
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
    whole = probe.state(path)
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
    with timed(timings, "total"):
        try:
            tell("probe", 0, None)
            with timed(timings, "probe"):
                found = probe.probe(path)
            report = replace(
                report,
                duration_s=found.duration_s,
                tolerance_ms=tolerance(options.standard, found),
                audio_track=options.audio_track if options.audio is None else None,
            )
            report = _judge(found, report, options, tell, timings)
        except CannotTell as error:
            report = _nothing(report, str(error))
        except KeyboardInterrupt:
            report = replace(
                _nothing(report, "the check was stopped before anything was judged"), complete=False
            )
    report = replace(report, timings_s=timings)
    if probe.state(path) != whole:
        changed = "the file changed while it was checked; check it again when it is complete"
        report = replace(report, reasons=(*report.reasons, changed))
    if not report.complete:
        raise Interrupted(report)
    return report


def _nothing(report: Report, why: str) -> Report:
    whole = Unjudged(0.0, report.duration_s or 0.0, why.rstrip("."))
    return replace(report, reasons=(why,), unjudged=(whole,))


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
    with timed(timings, "model"):
        loaded = model_of_mouths(options)
    tell("audio", 0, None)
    with timed(timings, "audio"):
        whole, found = found, probe.without_tail(found)
        until_s = found.duration_s + options.max_offset_ms / 1000 + 1
        track, sound = (
            (None, audio.load_audio(options.audio, until_s))
            if options.audio
            # Of a picture that lasts as long as the file, how long that is may be told wrongly.
            else speech.judged_track(found, options.audio_track, math.inf if found is whole else until_s)
        )
        if audio.is_silent(sound.samples):
            raise CannotTell(f"The audio of {options.audio or found.path} is silent.")
        report = replace(report, audio_track=track if len(found.audio) > 1 else report.audio_track)
        notes = (*_which_track(found, track, options), *_broken_off(found, sound, track))
        notes += (*_undecoded("sound", sound.undecoded), *_tail(found, whole))
        notes += audio.audio_condition(sound)
    tell("faces", 0, 1)
    job = survey.Job(found, sound, loaded, options, found.duration_s, tell, timings)
    with beside(speech.listen(sound)) as listening:
        return _look(job, partial(_report, report, job, notes, listening))


def _look(job: survey.Job, conclude: Callable[..., Report]) -> Report:
    """Look until the answer is certain, or nothing is left, or Ctrl-C, which leaves what there is by then."""
    looked = survey.Looked()
    report = conclude(looked)
    try:
        for spans in sampling.rounds(job.media.duration_s, adaptive=_adaptive(job)):
            planned = replace(job, planned_s=looked.seconds + sampling.total(spans))
            for span in spans:
                looked = survey.look(planned, looked, span)
            with timed(job.timings, "offset"):
                report = conclude(looked)
            if sampling.certain(report):
                return report
    except KeyboardInterrupt as stop:
        looked = stop.so_far if isinstance(stop, Interrupted) else looked
        return conclude(looked, stopped=True)
    return report


def _adaptive(job: survey.Job) -> bool:
    if job.options.sample == "auto":
        return job.loaded.device.type == "cpu"
    return job.options.sample == "adaptive"


def _which_track(found: Media, track: int | None, options: CheckOptions) -> tuple[str, ...]:
    """A note where another audio track was judged than players take."""
    if track is None or options.audio_track is not None:
        return ()
    usual = audio.audio_track(found, None).track
    return () if track == usual else (f"audio track {track} was judged: no speech is heard in track {usual}",)


def _broken_off(found: Media, sound: Waveform, track: int | None) -> tuple[str, ...]:
    """A note where the sound ends long before the file says so, as after a broken download."""
    if track is None:
        return ()
    stream = audio.audio_track(found, track)
    said_s = min(found.duration_s, stream.start_s + (stream.duration_s or 0.0))
    end_s = sound.start_s + len(sound.samples) / SAMPLE_RATE
    if said_s - end_s <= max(BROKEN_OFF_S, 0.02 * said_s):
        return ()
    return (f"the file breaks off: its sound ends at {timecode(end_s)} instead of {timecode(said_s)}",)


def _tail(found: Media, whole: Media) -> tuple[str, ...]:
    """A note where the file goes on without a picture."""
    if found is whole:
        return ()
    seen, lasts = timecode(found.duration_s), timecode(whole.duration_s)
    return (
        f"the picture ends at {seen}, though the file lasts {lasts}; what is heard after it was not judged",
    )


def _undecoded(what: str, spans: Sequence[Span]) -> tuple[str, ...]:
    """A note on the stretches of picture or sound that could not be decoded."""
    lost_s = sampling.total(spans)
    if lost_s < LEAST_LOST_S:
        return ()
    first, past = min(start for start, _ in spans), max(end for _, end in spans)
    where = f"between {timecode(first)} and {timecode(past)}"
    return (f"the file is damaged: {lost_s:.1f} s of its {what} could not be decoded, {where}",)


@lru_cache(maxsize=2)
def load_model(name: str, device: str) -> Loaded:
    """The model, loaded once per process and name. Raises ModelError."""
    from avsync import weights

    return weights.load(name, device)


def model_of_mouths(options: CheckOptions) -> Loaded:
    """The model of `options`. Raises ModelError where a check cannot use it."""
    loaded = load_model(options.model, options.device)
    if loaded.model.picture == "face":
        raise ModelError(
            f"{loaded.path} looks at whole faces, but a check cuts out mouths; "
            "judge it with: avsync bench --data."
        )
    return loaded


def _report(
    report: Report,
    job: survey.Job,
    notes: tuple[str, ...],
    listening: Future[list[speech.Floats]],
    looked: survey.Looked,
    *,
    stopped: bool = False,
) -> Report:
    """What the stretches that were looked at say, and what was heard: `listening` may go on beside."""
    looked = survey.in_order(looked)
    spans = sampling.merged(looked.spans)
    whole_s = job.media.duration_s
    report = replace(report, looked_at=spans, stride=looked.stride, complete=not stopped)
    notes = (*_looked_words(spans, whole_s, stopped), *_undecoded("picture", looked.undecoded), *notes)
    missed = coverage.STOPPED if stopped else coverage.SPARED
    file_s = report.duration_s or whole_s
    tail = (Unjudged(whole_s, file_s, coverage.NO_PICTURE),) if file_s > whole_s else ()
    if not looked.scores:
        why = _no_scores(job.media.path, looked)
        return replace(
            report,
            reasons=notes if stopped else (why, *notes),
            tracks=tuple(_track(track, None) for track in looked.tracks),
            unjudged=(*coverage.unjudged(looked.tracks, (), (), (), whole_s, 1, spans, missed), *tail),
        )
    calibration = Calibration.from_dict(job.loaded.calibration)
    pooled, own, speaking = offset.judge(looked.scores, calibration)
    weights = offset.track_weights(own).tolist()
    # Ctrl-C does not wait for the rest of the sound.
    pieces = [] if stopped and not listening.done() else listening.result()
    heard = speech.heard(pieces, job.sound.start_s)
    speaking_windows = [
        speech.spoken(heard, s.times_s, WINDOW_FRAMES * FRAME_S)
        & motion.moves(looked.motion.get(s.track, ()), s.times_s)
        for s in looked.scores
    ]
    stride = looked.stride or 1
    counted = [i for i, weight in enumerate(weights) if weight >= coverage.COUNTED]
    contested = defects.contested_share(
        [looked.scores[i] for i in counted], [speaking_windows[i] for i in counted], pooled.segments
    )
    judged = defects.judge(
        pooled,
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        mismatch=defects.mismatched(looked.scores, speaking_windows, calibration, stride * FRAME_S),
        contested=contested,
    )
    by_track = {
        s.track: TrackReport(s.track, 0, 0, len(s.times_s), o, i == speaking, weights[i])
        for i, (s, o) in enumerate(zip(looked.scores, own, strict=True))
    }
    unjudged = coverage.unjudged(
        looked.tracks, looked.scores, weights, pooled.segments, whole_s, stride, spans, missed
    )
    return replace(
        report,
        verdict=judged.verdict,
        # Lips that fit the speech nowhere have no offset, however the best of the bad ones is called.
        offset_ms=None if judged.verdict == "mismatch" else pooled.offset_ms,
        uncertainty_ms=None if judged.verdict == "mismatch" else pooled.uncertainty_ms,
        probability=pooled.probability,
        drift_ms_per_min=pooled.drift_ms_per_min,
        drift_uncertainty_ms_per_min=pooled.drift_uncertainty_ms_per_min,
        faults=judged.faults,
        contested=judged.contested,
        reasons=(*_no_speech(judged.verdict, pieces, heard), *judged.reasons, *notes),
        tracks=tuple(_track(t, by_track.get(t.track), looked.portraits.get(t.track)) for t in looked.tracks),
        segments=pooled.segments,
        judged_s=whole_s - sum(stretch.end_s - stretch.start_s for stretch in unjudged),
        speech_s=speech.seconds(heard) if pieces else None,
        speech_judged_s=speech.seconds(heard, [(s.start_s, s.end_s) for s in unjudged]) if pieces else None,
        unjudged=(*unjudged, *tail),
        score_map=coverage.score_map(looked.scores, weights, calibration),
    )


def _no_speech(verdict: Verdict, pieces: Sequence[speech.Floats], heard: Speech) -> tuple[str, ...]:
    """The plainest reason why nothing can be told, before those that the scores give."""
    silent = bool(pieces) and speech.seconds(heard) < MIN_SPEECH_S
    return ("no speech is heard",) if silent and verdict == "cannot-tell" else ()


def _no_scores(path: Path, looked: survey.Looked) -> str:
    if not looked.tracks:
        return f"No face that lasts was found in {path}."
    return f"No face in {path} is seen together with sound for long enough to judge."


def _looked_words(spans: Sequence[Span], whole_s: float, stopped: bool) -> tuple[str, ...]:
    """How much was looked at, where that is not all."""
    looked = f"{timecode(sampling.total(spans))} of {timecode(whole_s)}"
    if stopped:
        return (f"the check was stopped when it had looked at {looked}",)
    if whole_s - sampling.total(spans) < 1:
        return ()
    gap = sampling.longest_gap(spans, whole_s)
    return (
        f"looked at {looked}, spread over the video, until the answer was certain enough; a fault of less "
        f"than {timecode(gap)} may lie between (--sample exhaustive looks at all of it)",
    )


def _track(track: FaceTrack, judged: TrackReport | None, portrait: bytes | None = None) -> TrackReport:
    end_s = track.start_s + len(track.boxes) / FRAME_RATE
    report = judged or TrackReport(track.track, 0, 0, 0, None)
    return replace(report, start_s=track.start_s, end_s=end_s, portrait=portrait)


def _silent(stage: str, done: float, total: float | None) -> None:
    """Progress for nobody."""
