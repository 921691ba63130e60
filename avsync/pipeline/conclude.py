"""From what was seen and heard to a Report: the verdict, what it does not cover, and the notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from avsync.audio import vad, waveform
from avsync.core.constants import FRAME_RATE, FRAME_S, MIN_SPEECH_S, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.options import CheckOptions
from avsync.core.records import FaceTrack, Scores, Span, Speech, Waveform
from avsync.core.report import (
    Cause,
    Reason,
    ReasonKind,
    Report,
    Segment,
    TrackReport,
    Unjudged,
    Verdict,
)
from avsync.core.streams import Media
from avsync.estimate import certainty, coverage, offset, speakers, support, verdict
from avsync.estimate.calibration import Calibration
from avsync.faces import motion
from avsync.pipeline import schedule, stretch

BROKEN_OFF_S = 1.0
"""A file is called broken off when its audio is this much shorter than stored (and by 2 % of it)."""
LEAST_LOST_S = 0.1
"""A file is called damaged if at least this much could not be decoded."""


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
    notes = (
        *_sampled(spans, job.span, stopped),
        *_undecoded("damaged-video", [(gap.start_s, gap.end_s) for gap in looked.gaps if gap.damaged]),
        *notes,
    )
    missed: Cause = "stopped" if stopped else "not-needed"
    file_s = report.duration_s or whole_s
    tail = (Unjudged(whole_s, file_s, "no-video"),) if file_s > whole_s else ()
    if not looked.scores:
        why = Reason("no-face-with-audio" if looked.tracks else "no-face", {"path": str(job.media.path)})
        return replace(
            report,
            reasons=notes if stopped else (why, *notes),
            tracks=tuple(_track(track, None) for track in looked.tracks),
            unjudged=(
                *_excluded(
                    coverage.unjudged(looked.tracks, (), (), (), whole_s, 1, spans, missed, looked.gaps),
                    job.span,
                ),
                *tail,
            ),
        )
    # Ctrl-C does not wait for the rest of the audio.
    pieces = [] if stopped and not listening.done() else listening.result()
    heard = vad.heard(pieces, job.audio.start_s, job.span) if pieces else None
    calibration = Calibration.from_dict(job.loaded.calibration)
    report = judged(report, looked, heard, calibration, whole_s, missed)
    if report.verdict == "in-sync" and any(note.kind == "unread-end" for note in notes):
        report = replace(report, verdict="partly-judged", verdict_probability=None)
    return replace(
        report,
        reasons=(*report.reasons, *notes),
        unjudged=(*_excluded(report.unjudged, job.span), *tail),
    )


def _excluded(unjudged: Sequence[Unjudged], span: Span) -> Iterator[Unjudged]:
    """The same, with the cause "excluded" for what lies outside the part to be checked."""
    for part in unjudged:
        edges = [part.start_s, *(edge for edge in span if part.start_s < edge < part.end_s), part.end_s]
        for start_s, end_s in pairwise(edges):
            inside = span[0] <= (start_s + end_s) / 2 < span[1]
            if end_s - start_s >= FRAME_S / 2:
                yield replace(part, start_s=start_s, end_s=end_s, cause=part.cause if inside else "excluded")


def judged(
    report: Report,
    looked: stretch.Looked,
    heard: Speech | None,
    calibration: Calibration,
    duration_s: float,
    missed: Cause,
) -> Report:
<<<<<<< HEAD
    """The verdict on what was looked at, which has scores. `heard`: None where nobody listened; `missed`:
    why the rest was not looked at."""
=======
    """The verdict on what was looked at, which has scores. `heard`: None if speech was not detected;
    `missed`: why the rest was not looked at."""
    cells = speakers.cells(looked.scores, calibration)
    weights = speakers.weigh(looked.scores, cells)
    first = offset.pooled(looked.scores, weights, calibration)
    # Once the offset of the file is known, each face is weighed at that one rather than at its own best.
    weights = speakers.weigh(looked.scores, cells, first, calibration)
    pooled = offset.pooled(looked.scores, weights, calibration)
    own = [offset.constant(scores, calibration) for scores in looked.scores]
    speaking = offset.choose_speaker(own)
>>>>>>> 958f053 (estimate, evaluation, pipeline: plain English where a reader would trip)
    moving = [motion.moves(looked.motion.get(s.track, ()), s.times_s) for s in looked.scores]
    known = heard or Speech(0.0, FRAME_S, np.zeros(0, np.float32))
    talking = [
        vad.spoken(known, s.times_s, WINDOW_FRAMES * FRAME_S) & moves
        for s, moves in zip(looked.scores, moving, strict=True)
    ]
    cells = speakers.cells(looked.scores, calibration)
    weights = speakers.weigh(looked.scores, cells, talking=talking)
    first = offset.pooled(looked.scores, weights, calibration)
    # Once the offset of the file is known, each face is asked about that one rather than about any.
    weights = speakers.weigh(looked.scores, cells, first, calibration, talking)
    pooled = offset.pooled(looked.scores, weights, calibration)
    own = [offset.constant(scores, calibration) for scores in looked.scores]
    speaking = offset.choose_speaker(own)
    stride = looked.stride or 1
    counted = [i for i, weight in enumerate(weights) if weight.max() >= speakers.COUNTED]
    contested = verdict.contested_share(
        [looked.scores[i] for i in counted], [talking[i] for i in counted], pooled.segments
    )
    open_stretches = support.contradictions(
        looked.scores, cells, talking, pooled, calibration, stride * FRAME_S
    )
    borne_out = support.without(looked.scores, weights, open_stretches)
    unjudged = coverage.unjudged(
        *(looked.tracks, looked.scores, borne_out, pooled.segments),
        *(duration_s, stride, schedule.merged(looked.spans), missed, looked.gaps),
    )
    seen_s, judged_s = coverage.talked(known, looked.scores, moving, unjudged, duration_s, stride)
    answer = verdict.judge(
        pooled,
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        foreign=open_stretches,
        talk_s=seen_s,
        contested=contested,
        judged_share=judged_s / seen_s if seen_s >= MIN_SPEECH_S else 1.0,
        min_judged=report.min_judged,
        min_fault_s=report.min_fault_s,
    )
    parts = coverage.judged_parts(pooled.segments, unjudged)
    by_track = {
        s.track: TrackReport(
            *(s.track, 0, 0, len(s.times_s), o, i == speaking, float(weights[i].max())),
            coverage.why_not(o, float(weights[i].max())),
            segments=_own_segments(parts, s, weights[i], calibration),
            syncnet=looked.distances.get(s.track),
        )
        for i, (s, o) in enumerate(zip(looked.scores, own, strict=True))
    }
    return replace(
        report,
        verdict=answer.verdict,
        # Lips that fit the speech nowhere have no offset, only a best candidate.
        offset_ms=None if answer.verdict == "mismatch" else pooled.offset_ms,
        uncertainty_ms=None if answer.verdict == "mismatch" else pooled.uncertainty_ms,
        probability=pooled.probability,
        verdict_probability=certainty.verdict_probability(
            answer.verdict, pooled, answer.faults, report.tolerance_ms, report.max_drift_ms_per_min
        ),
        drift_ms_per_min=pooled.drift_ms_per_min,
        drift_uncertainty_ms_per_min=pooled.drift_uncertainty_ms_per_min,
        faults=answer.faults,
        contested=answer.contested,
        reasons=(*_no_speech(answer.verdict, heard), *answer.reasons),
        tracks=tuple(_track(t, by_track.get(t.track), looked.portraits.get(t.track)) for t in looked.tracks),
        drift_possible_ms_per_min=None if pooled.drift_ms_per_min else pooled.drift_possible_ms_per_min,
        segments=coverage.with_own_offsets(parts, looked.scores, weights, calibration),
        turns=speakers.turns(looked.scores, cells, vad.spans(known), pooled, calibration, talking),
        judged_s=duration_s - sum(stretch.end_s - stretch.start_s for stretch in unjudged),
        speech_s=vad.seconds(heard) if heard else None,
        speech_seen_s=seen_s if heard else None,
        speech_judged_s=judged_s if heard else None,
        unjudged=unjudged,
        score_map=coverage.score_map(looked.scores, weights, calibration),
    )


def _own_segments(
    parts: Sequence[Segment], scores: Scores, weights: npt.NDArray[np.float64], calibration: Calibration
) -> tuple[Segment, ...]:
    """The judged `parts` in which one face speaks, with its own offset there."""
    here = []
    for part in parts:
        inside = (scores.times_s >= part.start_s) & (scores.times_s < part.end_s)
        counted = scores.times_s[inside & (weights >= speakers.COUNTED)]
        if len(counted):
            start_s = max(part.start_s, float(counted.min()))
            past_s = min(part.end_s, float(counted.max()) + WINDOW_FRAMES * FRAME_S)
            here.append(replace(part, start_s=start_s, end_s=past_s))
    return coverage.with_own_offsets(here, [scores], [weights], calibration) if here else ()


def _track(track: FaceTrack, judged: TrackReport | None, portrait: bytes | None = None) -> TrackReport:
    end_s = track.start_s + len(track.boxes) / FRAME_RATE
    report = judged or TrackReport(track.track, 0, 0, 0, None, cause=coverage.why_not(None, 0.0))
    boxes = tuple(
        (track.start_s + first / FRAME_RATE, *(float(edge) for edge in track.boxes[first]))
        for first in range(0, len(track.boxes), FRAME_RATE)
    )
    return replace(
        report, start_s=track.start_s, end_s=end_s, portrait=portrait, boxes=boxes, outline=track.boxes
    )


# --- Notes -------------------------------------------------------------------------------


def audio_notes(
    found: Media,
    whole: Media,
    audio: Waveform,
    track: int | None,
    options: CheckOptions,
    until_s: float,
) -> tuple[Reason, ...]:
    """Notes on the audio that was judged: of which `track` (None: of a file of its own), and what is wrong
    with it. `found` is `whole` as far as there is video; the audio was read up to `until_s` at least."""
    return (
        *_which_track(found, track, options),
        *_unread(whole),
        *_jumps(whole),
        *_broken_off(found, whole, audio, track, until_s),
        *_undecoded("damaged-audio", audio.undecoded),
        *_tail(found, whole),
        *waveform.audio_condition(audio),
    )


def _which_track(found: Media, track: int | None, options: CheckOptions) -> tuple[Reason, ...]:
    """A note where another audio track was judged than players take."""
    if track is None or options.audio_track is not None:
        return ()
    usual = waveform.audio_track(found, None).track
    return () if track == usual else (Reason("other-audio-track", {"judged": track, "default": usual}),)


def _unread(whole: Media) -> tuple[Reason, ...]:
    """A note where much of the file lies behind the last packet that can be read."""
    if not whole.unread_bytes:
        return ()
    return (Reason("unread-end", {"unread_bytes": whole.unread_bytes}),)


def _jumps(whole: Media) -> tuple[Reason, ...]:
    """A note where the timestamps start over or jump, as in recordings that were joined."""
    runs = [piece for piece in whole.pieces if not piece.stray]
    stray = len(whole.pieces) - len(runs)
    if len(runs) < 2 and not stray:
        return ()
    at_s = [piece.start_s for piece in runs[1:]]
    return (Reason("clock-jumps", {"jumps": len(at_s), "at_s": at_s, "stray": stray}),)


def _broken_off(
    found: Media, whole: Media, audio: Waveform, track: int | None, until_s: float
) -> tuple[Reason, ...]:
    """A note where the file, or its audio, ends long before its header says so, as after a broken copy."""
    said_s = None if _jumps(whole) else whole.header_s  # a header that believes wild timestamps says nothing
    if said_s is not None and said_s - whole.duration_s > max(BROKEN_OFF_S, 0.02 * said_s):
        return (Reason("breaks-off", {"end_s": whole.duration_s, "stored_end_s": said_s}),)
    if track is None:
        return ()
    stream = waveform.audio_track(found, track)
    said_s = min(until_s, found.duration_s, stream.start_s + (stream.duration_s or 0.0))
    end_s = audio.start_s + len(audio.samples) / SAMPLE_RATE
    if said_s - end_s <= max(BROKEN_OFF_S, 0.02 * said_s):
        return ()
    return (Reason("audio-breaks-off", {"end_s": end_s, "stored_end_s": said_s}),)


def _tail(found: Media, whole: Media) -> tuple[Reason, ...]:
    """A note where the audio continues without video."""
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


def _no_speech(verdict: Verdict, heard: Speech | None) -> tuple[Reason, ...]:
    """The simplest reason why there is no answer, before those that the scores give."""
    silent = heard is not None and vad.seconds(heard) < MIN_SPEECH_S
    return (Reason("no-speech"),) if silent and verdict == "cannot-tell" else ()


def _sampled(spans: Sequence[Span], whole: Span, stopped: bool) -> tuple[Reason, ...]:
    """How much of `whole` was looked at, where that is not all."""
    whole_s = whole[1] - whole[0]
    looked = {"looked_s": schedule.total(spans), "duration_s": whole_s}
    if stopped:
        return (Reason("stopped", looked),)
    if whole_s - schedule.total(spans) < 1:
        return ()
    return (Reason("sampled", {**looked, "gap_s": schedule.longest_gap(spans, whole)}),)
