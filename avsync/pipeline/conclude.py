"""What was looked at and heard becomes a Report: the verdict, what it does not speak of, and the notes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from avsync.audio import vad, waveform
from avsync.core.constants import FRAME_RATE, FRAME_S, MIN_SPEECH_S, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.options import CheckOptions
from avsync.core.records import (
    Cause,
    FaceTrack,
    Media,
    Reason,
    ReasonKind,
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

BROKEN_OFF_S = 1.0
"""A file is called broken off when its sound is this much shorter than stored (and by 2 % of it)."""
LEAST_LOST_S = 0.1
"""A file is called damaged from so much on that could not be decoded."""


def conclude(
    report: Report,
    job: stretch.Job,
    notes: tuple[Reason, ...],
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
    notes = (*_sampled(spans, whole_s, stopped), *_undecoded("damaged-video", looked.undecoded), *notes)
    missed: Cause = "stopped" if stopped else "not-needed"
    file_s = report.duration_s or whole_s
    tail = (Unjudged(whole_s, file_s, "no-video"),) if file_s > whole_s else ()
    if not looked.scores:
        why = Reason("no-face-with-audio" if looked.tracks else "no-face", {"path": str(job.media.path)})
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
    moving = [motion.moves(looked.motion.get(s.track, ()), s.times_s) for s in looked.scores]
    speaking_windows = [
        vad.spoken(heard, s.times_s, WINDOW_FRAMES * FRAME_S) & moves
        for s, moves in zip(looked.scores, moving, strict=True)
    ]
    stride = looked.stride or 1
    counted = [i for i, weight in enumerate(weights) if weight >= coverage.COUNTED]
    contested = verdict.contested_share(
        [looked.scores[i] for i in counted], [speaking_windows[i] for i in counted], pooled.segments
    )
    unjudged = coverage.unjudged(
        looked.tracks, looked.scores, weights, pooled.segments, whole_s, stride, spans, missed
    )
    seen_s, judged_s = coverage.talked(heard, looked.scores, moving, unjudged, whole_s, stride)
    judged = verdict.judge(
        pooled,
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        mismatch=verdict.mismatched(looked.scores, speaking_windows, calibration, stride * FRAME_S),
        contested=contested,
        judged_share=judged_s / seen_s if seen_s >= MIN_SPEECH_S else 1.0,
        min_judged=report.min_judged,
    )
    by_track = {
        s.track: TrackReport(
            *(s.track, 0, 0, len(s.times_s), o, i == speaking, weights[i]), coverage.why_not(o, weights[i])
        )
        for i, (s, o) in enumerate(zip(looked.scores, own, strict=True))
    }
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
        speech_seen_s=seen_s if pieces else None,
        speech_judged_s=judged_s if pieces else None,
        unjudged=(*unjudged, *tail),
        score_map=coverage.score_map(looked.scores, weights, calibration),
    )


def _track(track: FaceTrack, judged: TrackReport | None, portrait: bytes | None = None) -> TrackReport:
    end_s = track.start_s + len(track.boxes) / FRAME_RATE
    report = judged or TrackReport(track.track, 0, 0, 0, None, cause=coverage.why_not(None, 0.0))
    return replace(report, start_s=track.start_s, end_s=end_s, portrait=portrait)


# --- Notes -------------------------------------------------------------------------------


def of_the_sound(
    found: Media, whole: Media, sound: Waveform, track: int | None, options: CheckOptions
) -> tuple[Reason, ...]:
    """Notes on the audio that was judged: of which `track` (None: of a file of its own), and what is wrong
    with it. `found` is `whole` as far as there is video."""
    return (
        *_which_track(found, track, options),
        *_broken_off(found, sound, track),
        *_undecoded("damaged-audio", sound.undecoded),
        *_tail(found, whole),
        *waveform.audio_condition(sound),
    )


def _which_track(found: Media, track: int | None, options: CheckOptions) -> tuple[Reason, ...]:
    """A note where another audio track was judged than players take."""
    if track is None or options.audio_track is not None:
        return ()
    usual = waveform.audio_track(found, None).track
    return () if track == usual else (Reason("other-audio-track", {"judged": track, "default": usual}),)


def _broken_off(found: Media, sound: Waveform, track: int | None) -> tuple[Reason, ...]:
    """A note where the audio ends long before the file says so, as after a broken download."""
    if track is None:
        return ()
    stream = waveform.audio_track(found, track)
    said_s = min(found.duration_s, stream.start_s + (stream.duration_s or 0.0))
    end_s = sound.start_s + len(sound.samples) / SAMPLE_RATE
    if said_s - end_s <= max(BROKEN_OFF_S, 0.02 * said_s):
        return ()
    return (Reason("audio-breaks-off", {"end_s": end_s, "stored_end_s": said_s}),)


def _tail(found: Media, whole: Media) -> tuple[Reason, ...]:
    """A note where the file goes on without video."""
    if found is whole:
        return ()
    return (Reason("no-video-at-end", {"end_s": found.duration_s, "duration_s": whole.duration_s}),)


def _undecoded(kind: ReasonKind, spans: Sequence[Span]) -> tuple[Reason, ...]:
    """A note on the stretches of video or audio that could not be decoded."""
    lost_s = schedule.total(spans)
    if lost_s < LEAST_LOST_S:
        return ()
    first, past = min(start for start, _ in spans), max(end for _, end in spans)
    return (Reason(kind, {"lost_s": lost_s, "start_s": first, "end_s": past}),)


def _no_speech(verdict: Verdict, pieces: Sequence[vad.Floats], heard: Speech) -> tuple[Reason, ...]:
    """The plainest reason why nothing can be told, before those that the scores give."""
    silent = bool(pieces) and vad.seconds(heard) < MIN_SPEECH_S
    return (Reason("no-speech"),) if silent and verdict == "cannot-tell" else ()


def _sampled(spans: Sequence[Span], whole_s: float, stopped: bool) -> tuple[Reason, ...]:
    """How much was looked at, where that is not all."""
    looked = {"looked_s": schedule.total(spans), "duration_s": whole_s}
    if stopped:
        return (Reason("stopped", looked),)
    if whole_s - schedule.total(spans) < 1:
        return ()
    return (Reason("sampled", {**looked, "gap_s": schedule.longest_gap(spans, whole_s)}),)
