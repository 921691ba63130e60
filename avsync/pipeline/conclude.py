"""What was looked at and heard becomes a Report: the verdict, what it does not speak of, and the notes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from avsync.audio import vad, waveform
from avsync.core.constants import FRAME_RATE, FRAME_S, MIN_SPEECH_S, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.options import CheckOptions
from avsync.core.records import (
    FaceTrack,
    Media,
    Report,
    Span,
    Speech,
    TrackReport,
    Unjudged,
    Verdict,
    Waveform,
)
from avsync.estimate import coverage, offset, verdict
from avsync.estimate.calibration import Calibration
from avsync.faces import motion
from avsync.pipeline import schedule, stretch
from avsync.report.words import timecode

BROKEN_OFF_S = 1.0
"""A file is called broken off when its sound is this much shorter than stored (and by 2 % of it)."""
LEAST_LOST_S = 0.1
"""A file is called damaged from so much on that could not be decoded."""


def conclude(
    report: Report,
    job: stretch.Job,
    notes: tuple[str, ...],
    listening: Future[list[vad.Floats]],
    looked: stretch.Looked,
    *,
    stopped: bool = False,
) -> Report:
    """What the stretches that were looked at say, and what was heard: `listening` may go on beside."""
    looked = stretch.in_order(looked)
    spans = schedule.merged(looked.spans)
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
    heard = vad.heard(pieces, job.sound.start_s, whole_s)
    speaking_windows = [
        vad.spoken(heard, s.times_s, WINDOW_FRAMES * FRAME_S)
        & motion.moves(looked.motion.get(s.track, ()), s.times_s)
        for s in looked.scores
    ]
    stride = looked.stride or 1
    counted = [i for i, weight in enumerate(weights) if weight >= coverage.COUNTED]
    contested = verdict.contested_share(
        [looked.scores[i] for i in counted], [speaking_windows[i] for i in counted], pooled.segments
    )
    judged = verdict.judge(
        pooled,
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        mismatch=verdict.mismatched(looked.scores, speaking_windows, calibration, stride * FRAME_S),
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
        speech_s=vad.seconds(heard) if pieces else None,
        speech_judged_s=vad.seconds(heard, [(s.start_s, s.end_s) for s in unjudged]) if pieces else None,
        unjudged=(*unjudged, *tail),
        score_map=coverage.score_map(looked.scores, weights, calibration),
    )


def _track(track: FaceTrack, judged: TrackReport | None, portrait: bytes | None = None) -> TrackReport:
    end_s = track.start_s + len(track.boxes) / FRAME_RATE
    report = judged or TrackReport(track.track, 0, 0, 0, None)
    return replace(report, start_s=track.start_s, end_s=end_s, portrait=portrait)


# --- Notes -------------------------------------------------------------------------------


def of_the_sound(
    found: Media, whole: Media, sound: Waveform, track: int | None, options: CheckOptions
) -> tuple[str, ...]:
    """Notes on the sound that was judged: of which `track` (None: of a file of its own), and what is wrong
    with it. `found` is `whole` as far as there is a picture."""
    return (
        *_which_track(found, track, options),
        *_broken_off(found, sound, track),
        *_undecoded("sound", sound.undecoded),
        *_tail(found, whole),
        *waveform.audio_condition(sound),
    )


def _which_track(found: Media, track: int | None, options: CheckOptions) -> tuple[str, ...]:
    """A note where another audio track was judged than players take."""
    if track is None or options.audio_track is not None:
        return ()
    usual = waveform.audio_track(found, None).track
    return () if track == usual else (f"audio track {track} was judged: no speech is heard in track {usual}",)


def _broken_off(found: Media, sound: Waveform, track: int | None) -> tuple[str, ...]:
    """A note where the sound ends long before the file says so, as after a broken download."""
    if track is None:
        return ()
    stream = waveform.audio_track(found, track)
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
    lost_s = schedule.total(spans)
    if lost_s < LEAST_LOST_S:
        return ()
    first, past = min(start for start, _ in spans), max(end for _, end in spans)
    where = f"between {timecode(first)} and {timecode(past)}"
    return (f"the file is damaged: {lost_s:.1f} s of its {what} could not be decoded, {where}",)


def _no_speech(verdict: Verdict, pieces: Sequence[vad.Floats], heard: Speech) -> tuple[str, ...]:
    """The plainest reason why nothing can be told, before those that the scores give."""
    silent = bool(pieces) and vad.seconds(heard) < MIN_SPEECH_S
    return ("no speech is heard",) if silent and verdict == "cannot-tell" else ()


def _no_scores(path: Path, looked: stretch.Looked) -> str:
    if not looked.tracks:
        return f"No face that lasts was found in {path}."
    return f"No face in {path} is seen together with sound for long enough to judge."


def _looked_words(spans: Sequence[Span], whole_s: float, stopped: bool) -> tuple[str, ...]:
    """How much was looked at, where that is not all."""
    looked = f"{timecode(schedule.total(spans))} of {timecode(whole_s)}"
    if stopped:
        return (f"the check was stopped when it had looked at {looked}",)
    if whole_s - schedule.total(spans) < 1:
        return ()
    gap = schedule.longest_gap(spans, whole_s)
    return (
        f"looked at {looked}, spread over the video, until the answer was certain enough; a fault of less "
        f"than {timecode(gap)} may lie between (--sample exhaustive looks at all of it)",
    )
