"""From what was seen and heard to a Report: the verdict, and what it does not cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from avsync.audio import vad
from avsync.core.constants import FRAME_RATE, FRAME_S, MIN_SPEECH_S, WINDOW_FRAMES
from avsync.core.records import FaceTrack, Scores, Span, Speech
from avsync.core.report import (
    Cause,
    Offset,
    Reason,
    Report,
    Segment,
    TrackReport,
    Unjudged,
    Verdict,
)
from avsync.estimate import certainty, coverage, offset, speakers, support, verdict
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import Seams
from avsync.faces import motion
from avsync.pipeline import notes, schedule, stretch


def conclude(
    report: Report,
    job: stretch.Job,
    known: tuple[Reason, ...],
    looked: stretch.Looked,
    *,
    stopped: bool = False,
) -> Report:
    """What the stretches that were looked at say, with what was heard. `known`: notes on the file and its
    audio."""
    looked = stretch.in_order(looked)
    spans = schedule.merged(looked.spans)
    whole_s = job.media.duration_s
    report = replace(report, looked_at=spans, stride=looked.stride, complete=not stopped)
    reasons = (
        *notes.sampled(spans, job.span, stopped),
        *notes.undecoded("damaged-video", [(gap.start_s, gap.end_s) for gap in looked.gaps if gap.damaged]),
        *known,
    )
    missed: Cause = "stopped" if stopped else "not-needed"
    file_s = report.duration_s or whole_s
    tail = (Unjudged(whole_s, file_s, "no-video"),) if file_s > whole_s else ()
    if not looked.scores:
        why = Reason("no-face-with-audio" if looked.tracks else "no-face")
        return replace(
            report,
            reasons=reasons if stopped else (why, *reasons),
            tracks=tuple(_track(track, None) for track in looked.tracks),
            unjudged=(
                *_excluded(
                    coverage.unjudged(
                        looked.tracks, (), (), (), whole_s, 1, spans, missed, looked.gaps, job.quiet
                    ),
                    job.span,
                ),
                *tail,
            ),
        )
    calibration = Calibration.from_dict(job.loaded.calibration)
    breaks = [edge for gap in job.audio.gaps for edge in gap]
    seams = Seams(breaks, vad.pauses(job.heard) if job.heard else ())
    report = judged(report, looked, job.heard, calibration, whole_s, missed, job.quiet, seams)
    if report.verdict == "in-sync" and any(note.kind == "unread-end" for note in known):
        report = replace(report, verdict="partly-judged", verdict_probability=None)
    return replace(
        report,
        reasons=(*report.reasons, *reasons),
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


@dataclass(frozen=True)
class _Spoken:
    """Who speaks when, and the offset of all faces together, `pooled`. For each of the scores, (n_windows,):
    `moving`, whether the mouth moves; `talking`, whether it does while speech is heard; `weights`, 0..1, how
    much a window counts."""

    moving: list[npt.NDArray[np.bool_]]
    talking: list[npt.NDArray[np.bool_]]
    cells: list[speakers.Cell]
    weights: list[npt.NDArray[np.float64]]
    pooled: Offset


def judged(
    report: Report,
    looked: stretch.Looked,
    heard: Speech | None,
    calibration: Calibration,
    duration_s: float,
    missed: Cause,
    quiet: Sequence[Span] = (),
    seams: Seams = Seams(),
) -> Report:
    """The verdict on what was looked at, which has scores. `heard`: None if speech was not looked for;
    `missed`: why the rest of the video was not looked at; `quiet`: where nobody speaks, and lips were not
    read; `seams`: where the audio may have been cut."""
    known = heard or Speech(0.0, FRAME_S, np.zeros(0, np.float32))
    found = _spoken(looked, known, calibration, seams)
    stride = looked.stride or 1
    found, open_stretches = _supported(looked, found, calibration, seams, stride * FRAME_S)
    pooled = found.pooled
    supported = support.without(looked.scores, found.weights, open_stretches)
    unjudged = coverage.unjudged(
        *(looked.tracks, looked.scores, supported, pooled.segments),
        *(duration_s, stride, schedule.merged(looked.spans), missed, looked.gaps, quiet),
    )
    seen_s, judged_s = coverage.talked(known, looked.scores, found.moving, unjudged, duration_s, stride)
    answer = verdict.judge(
        support.without_brief_hints(looked.scores, found.talking, pooled, stride * FRAME_S),
        report.tolerance_ms,
        report.max_drift_ms_per_min,
        foreign=open_stretches,
        talk_s=seen_s,
        contested=_contested(looked, found),
        judged_share=judged_s / seen_s if seen_s >= MIN_SPEECH_S else 1.0,
        min_judged=report.min_judged,
        min_fault_s=report.min_fault_s,
    )
    answer = certainty.settled(answer, pooled, report.tolerance_ms)
    parts = coverage.judged_parts(pooled.segments, unjudged)
    unjudged = coverage.without_mismatches(unjudged, answer.faults)
    seen_s, judged_s = coverage.talked(known, looked.scores, found.moving, unjudged, duration_s, stride)
    turns = speakers.turns(looked.scores, found.cells, vad.spans(known), pooled, calibration, found.talking)
    return replace(
        _with_offset(report, answer, pooled),
        reasons=(*_no_speech(answer.verdict, heard), *answer.reasons),
        tracks=_track_reports(looked, found, parts, speakers.heard(turns), calibration),
        segments=coverage.with_own_offsets(parts, looked.scores, found.weights, calibration),
        turns=turns,
        judged_s=duration_s - sum(stretch.end_s - stretch.start_s for stretch in unjudged),
        speech_s=vad.seconds(heard) if heard else None,
        speech_seen_s=seen_s if heard else None,
        speech_judged_s=judged_s if heard else None,
        unjudged=unjudged,
        score_map=coverage.score_map(looked.scores, found.weights, calibration),
    )


def _spoken(looked: stretch.Looked, heard: Speech, calibration: Calibration, seams: Seams) -> _Spoken:
    moving = [motion.moves(looked.motion.get(s.track, ()), s.times_s) for s in looked.scores]
    talking = [
        vad.spoken(heard, s.times_s, WINDOW_FRAMES * FRAME_S) & moves
        for s, moves in zip(looked.scores, moving, strict=True)
    ]
    cells = speakers.cells(looked.scores, calibration)
    weights = speakers.weigh(looked.scores, cells, talking=talking)
    first = offset.pooled(looked.scores, weights, calibration, seams)
    # Once the offset of the file is known, each face is weighed at that one rather than at its own best.
    weights = speakers.weigh(looked.scores, cells, first, calibration, talking)
    pooled = offset.pooled(looked.scores, weights, calibration, seams)
    return _Spoken(moving, talking, cells, weights, pooled)


def _supported(
    looked: stretch.Looked,
    found: _Spoken,
    calibration: Calibration,
    seams: Seams,
    every_s: float,
) -> tuple[_Spoken, tuple[support.Contradiction, ...]]:
    """The same, with what is off rather than someone else's speech counted, and the stretches that do not
    support the offset."""

    def contradictions(answer: Offset) -> tuple[support.Contradiction, ...]:
        return support.contradictions(looked.scores, found.cells, found.talking, answer, calibration, every_s)

    against = contradictions(found.pooled)
    masks = support.apart(looked.scores, found.talking, against, calibration, every_s)
    if not any(mask.any() for mask in masks):
        return found, against
    weights = [np.where(mask, 1.0, weight) for mask, weight in zip(masks, found.weights, strict=True)]
    pooled = offset.pooled(looked.scores, weights, calibration, seams)
    return replace(found, weights=weights, pooled=pooled), contradictions(pooled)


def _contested(looked: stretch.Looked, found: _Spoken) -> float:
    """Share (0..1) of the speech of the faces that count whose scores contradict the offset of the file."""
    counted = [i for i, weight in enumerate(found.weights) if weight.max() >= speakers.COUNTED]
    return verdict.contested_share(
        [looked.scores[i] for i in counted], [found.talking[i] for i in counted], found.pooled.segments
    )


def _with_offset(report: Report, answer: verdict.Judgement, found: Offset) -> Report:
    """The report with the verdict, the defects and the offset."""
    # Lips that fit the speech nowhere have no offset, only a best candidate.
    mismatch = answer.verdict == "mismatch"
    return replace(
        report,
        verdict=answer.verdict,
        offset_ms=None if mismatch else found.offset_ms,
        uncertainty_ms=None if mismatch else found.uncertainty_ms,
        probability=found.probability,
        verdict_probability=certainty.verdict_probability(
            answer.verdict, found, answer.faults, report.tolerance_ms, report.max_drift_ms_per_min
        ),
        drift_ms_per_min=found.drift_ms_per_min,
        drift_uncertainty_ms_per_min=found.drift_uncertainty_ms_per_min,
        drift_possible_ms_per_min=None if found.drift_ms_per_min else found.drift_possible_ms_per_min,
        faults=answer.faults,
        contested=answer.contested,
    )


def _track_reports(
    looked: stretch.Looked,
    found: _Spoken,
    parts: Sequence[Segment],
    heard: frozenset[int],
    calibration: Calibration,
) -> tuple[TrackReport, ...]:
    """A report on each face, scored or not, by the judged `parts` of the file; `heard`: those that speak."""
    own = [offset.constant(scores, calibration) for scores in looked.scores]
    causes: list[Cause | None] = [
        coverage.why_not(o, float(w.max())) for o, w in zip(own, found.weights, strict=True)
    ]
    counted = {s.track for s, cause in zip(looked.scores, causes, strict=True) if cause is None}
    best = offset.choose_speaker(own)
    # Where no face that counts is known to speak, it is the one with the most evidence.
    speaking = heard & counted or {s.track for i, s in enumerate(looked.scores) if i == best}
    by_track = {
        s.track: TrackReport(
            *(s.track, 0, 0, len(s.times_s), o, s.track in speaking, float(weight.max())),
            cause=cause,
            segments=_own_segments(parts, s, weight, calibration),
            syncnet=looked.distances.get(s.track),
        )
        for s, o, weight, cause in zip(looked.scores, own, found.weights, causes, strict=True)
    }
    return tuple(_track(t, by_track.get(t.track), looked.portraits.get(t.track)) for t in looked.tracks)


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


def _no_speech(verdict: Verdict, heard: Speech | None) -> tuple[Reason, ...]:
    """The simplest reason why there is no answer, before those that the scores give."""
    silent = heard is not None and vad.seconds(heard) < MIN_SPEECH_S
    return (Reason("no-speech"),) if silent and verdict == "cannot-tell" else ()
