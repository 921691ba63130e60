"""Scores -> the synchrony error and how certain it is. Pure numpy, no I/O.

`peak` holds the averaging and the peak, `timeline` the offset along the video, `calibration` the constants of
a checkpoint, `verdict` the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, FRAME_S, MIN_PROBABILITY, WINDOW_FRAMES
from avsync.core.records import Scores
from avsync.core.report import Offset, Reason
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import MIN_BLOCKS, Measure, Seams, evidence, measure
from avsync.estimate.pieces import main_piece
from avsync.estimate.timeline import timeline

FLAT_EVIDENCE = 5.0
"""Noise alone reaches about this height over the rest, in units of itself."""


def estimate(
    scores: Scores,
    calibration: Calibration | None = None,
    weights: npt.ArrayLike | None = None,
    cuts: npt.ArrayLike = (),
    seams: Seams = Seams(),
) -> Offset:
    """The offset of one track, or of several that were combined.

    weights: (n_windows,) trust in each window, 0..1; None: all equal. cuts: times at which shots begin;
    seams: where the audio may have been cut.
    Where the offset drifts, `offset_ms` is the one in the middle of the video; where it jumps, that of the
    piece with the most evidence.
    """
    calibration = calibration or Calibration()
    order = np.argsort(scores.times_s, kind="stable")
    scores = replace(scores, times_s=scores.times_s[order], logits=scores.logits[order])
    found = evidence(
        scores, calibration, None if weights is None else np.asarray(weights)[order], cuts, seams
    )
    if not len(found.rows):
        return _nothing(scores.shifts)
    line = timeline(found, calibration)
    m = main_piece(line.pieces).measure
    return Offset(
        offset_ms=m.offset_ms,
        uncertainty_ms=m.uncertainty_ms,
        probability=m.probability,
        evidence=m.evidence,
        at_edge=m.at_edge,
        shifts=scores.shifts,
        curve=m.curve.astype(np.float32),
        segments=line.segments,
        drift_ms_per_min=line.drift_ms_per_min,
        drift_uncertainty_ms_per_min=line.drift_uncertainty,
        drift_possible_ms_per_min=line.drift_possible,
        reasons=_doubts(m, scores, calibration),
    )


def constant(scores: Scores, calibration: Calibration) -> Offset:
    """The one offset that suits a track best, without a look at how it changes along the video."""
    found = evidence(scores, calibration)
    if not len(found.rows):
        return _nothing(scores.shifts)
    m = measure(found, calibration)
    return Offset(
        *(m.offset_ms, m.uncertainty_ms, m.probability, m.evidence, m.at_edge, scores.shifts),
        m.curve.astype(np.float32),
        reasons=_doubts(m, scores, calibration),
    )


def _nothing(shifts: npt.NDArray[np.int64]) -> Offset:
    curve = np.full(len(shifts), np.nan, np.float32)
    return Offset(None, None, 0.0, 0.0, False, shifts, curve, reasons=(Reason("no-face-judged"),))


def _doubts(m: Measure, scores: Scores, calibration: Calibration) -> tuple[Reason, ...]:
    """Why one constant offset is not certain; empty when it is."""
    if m.probability >= MIN_PROBABILITY:
        return ()
    reasons = []
    searched = {"searched_ms": FRAME_MS * float(np.abs(scores.shifts).max(initial=0))}
    flat = m.evidence < FLAT_EVIDENCE
    if m.at_edge and not flat:
        reasons.append(Reason("at-edge", searched))
    if m.observations < 2 * MIN_BLOCKS:
        seen_s = float(np.ptp(scores.times_s)) + WINDOW_FRAMES * FRAME_S
        reasons.append(
            Reason("too-brief", {"seconds": min(m.observations * calibration.dependence_s, seen_s)})
        )
    elif flat:
        reasons.append(Reason("flat", searched))
    elif m.rival_ms is not None and not m.at_edge:
        reasons.append(Reason("rival", {"offset_ms": m.offset_ms, "rival_ms": m.rival_ms}))
    return tuple(reasons)


def combine(tracks: Sequence[Scores]) -> Scores:
    """The windows of several tracks in order of time, as one; `track` is -1 unless all are the same.

    Raises ValueError when there is none, or when the tracks were scored at different shifts.
    """
    if not tracks:
        raise ValueError("there is no track to combine")
    if any(not np.array_equal(t.shifts, tracks[0].shifts) for t in tracks):
        raise ValueError("tracks were scored at different shifts")
    order = _time_order(tracks)
    return Scores(
        track=tracks[0].track if len({t.track for t in tracks}) == 1 else -1,
        times_s=np.concatenate([t.times_s for t in tracks])[order],
        shifts=tracks[0].shifts,
        logits=np.concatenate([t.logits for t in tracks])[order],
    )


def _time_order(tracks: Sequence[Scores]) -> npt.NDArray[np.int64]:
    return np.argsort(np.concatenate([t.times_s for t in tracks]), kind="stable")


def choose_speaker(offsets: Sequence[Offset]) -> int | None:
    """Number in the list of the track with the highest synchrony evidence; None when no track has any."""
    if not any(o.offset_ms is not None for o in offsets):
        return None
    return int(np.argmax([o.evidence if o.offset_ms is not None else -np.inf for o in offsets]))


def pooled(
    tracks: Sequence[Scores],
    weights: Sequence[npt.ArrayLike],
    calibration: Calibration | None = None,
    seams: Seams = Seams(),
) -> Offset:
    """One answer from all faces. weights: by track (n_windows,), how much each window counts; see `speakers`.

    Offsets are more likely to jump where a track begins, and at the `seams` of the audio.
    Raises ValueError when there is no track or the shifts differ.
    """
    trust = np.concatenate([np.asarray(weight, np.float64) for weight in weights])[_time_order(tracks)]
    cuts = np.unique([float(track.times_s[0]) for track in tracks if len(track.times_s)])[1:]
    return estimate(combine(tracks), calibration, trust, cuts, seams)


def along(answer: Offset, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """The offset of the file, in ms, at each of `times_s` (n,) -> (n,): that of the judged stretch there, or
    of the nearest one; None where it is not sure."""
    judged = [s for s in answer.segments if s.offset_ms is not None]
    if answer.offset_ms is None or answer.probability < MIN_PROBABILITY or not judged:
        return None
    starts, ends = (np.array([getattr(s, name) for s in judged]) for name in ("start_s", "end_s"))
    apart = np.maximum(starts - times_s[:, None], times_s[:, None] - ends).clip(0)
    nearest = apart.argmin(axis=1)
    middle = (starts + ends) / 2
    slope = (answer.drift_ms_per_min or 0.0) / 60
    offsets = np.array([s.offset_ms for s in judged], np.float64)
    return np.asarray(offsets[nearest] + slope * (times_s - middle[nearest]), np.float64)


def near(total: npt.NDArray[np.float64], shifts: npt.NDArray[np.int64], offset_ms: float) -> float:
    """The highest value of a curve `total` (n_shifts,) within half a frame of an offset."""
    places = -(offset_ms + np.array([-0.5, 0.0, 0.5]) * FRAME_MS) / FRAME_MS
    return float(np.interp(places, shifts, total).max())
