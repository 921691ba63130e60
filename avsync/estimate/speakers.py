"""Which face speaks when: each face is weighed by what it says of its own time, never by its rank in the
file.

A track is cut into cells of a few seconds. A cell's evidence is that of its best offset against "this face
does not speak"; where several faces are seen at once, the one that explains the speech better takes the
cell. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, FRAME_S, WINDOW_FRAMES
from avsync.core.records import Scores, Span, Turn
from avsync.estimate.calibration import CEILING, Calibration
from avsync.estimate.peak import averaged, block_sums, evidence

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CELL_S = 4.0
"""Length of a cell: long enough for a speaker to be told from a listener, short enough for people to take
turns."""
MIN_WEIGHT = 0.05
MIN_TURN_S = 0.3
"""Shorter speech that no visible face says is not worth a turn."""
COUNTED = 0.5
"""A window with a lower weight was not judged."""
SURE_EVIDENCE = 4.0
"""Log odds from which on a track as a whole is sure of its offset."""
MIN_TALK_S = 3.0
"""Less speech over a moving mouth says nothing about whose it is."""
FOREIGN_TALK_S = 4.0
"""From so much on, lips that fit the speech nowhere are a fault; below, a doubt."""
FOREIGN_PER_S = -0.6
"""Log-likelihood ratio of the best offset, for each second of speech over a moving mouth, at or below which
the speech is another's. Of six seconds of foreign speech 91 % had less, of four 75 %; of clips whose
speakers are known to be in sync none of 170, of 62 wild ones 3 % (val and unaligned lists, avsync-3)."""
DOUBTED_EVIDENCE = -0.5
"""The same for a doubt."""


@dataclass(frozen=True)
class Cell:
    """Part [start_s, end_s) of the track with number `index` in the list: `windows` are its windows' numbers,
    `total` (n_shifts,) the summed log-likelihood ratio of each offset."""

    index: int
    start_s: float
    end_s: float
    windows: npt.NDArray[np.int64]
    total: Floats


@dataclass(frozen=True)
class Foreign:
    """Speech in [start_s, end_s) that the lips seen there do not say at any offset; `sure`: long and clear
    enough for a fault. `talk_s`: seconds of speech over a moving mouth in it."""

    start_s: float
    end_s: float
    talk_s: float
    sure: bool


def cells(tracks: Sequence[Scores], calibration: Calibration) -> list[Cell]:
    """The cells of all tracks, by track and time."""
    return [cell for index, scores in enumerate(tracks) for cell in _cut(index, scores, calibration)]


def _cut(index: int, scores: Scores, calibration: Calibration) -> list[Cell]:
    if not len(scores.times_s):
        return []
    start, end = float(scores.times_s[0]), float(scores.times_s[-1]) + WINDOW_FRAMES * FRAME_S
    edges = np.linspace(start, end, max(1, round((end - start) / CELL_S)) + 1)
    which = np.searchsorted(edges[1:-1], scores.times_s, side="right")
    found = []
    for i in range(len(edges) - 1):
        windows = np.flatnonzero(which == i)
        if len(windows):
            total = summed(scores, windows, calibration)
            found.append(Cell(index, float(edges[i]), float(edges[i + 1]), windows, total))
    return found


def summed(scores: Scores, windows: npt.NDArray[np.int64], calibration: Calibration) -> Floats:
    """Log-likelihood ratio of each offset, (n_shifts,), as if there were one observation for every
    `dependence_s` that has windows; 0 where nothing can be compared."""
    part = Scores(scores.track, scores.times_s[windows], scores.shifts, scores.logits[windows])
    found = evidence(part, calibration)
    if not len(found.rows):
        return np.zeros(len(scores.shifts))
    curve = averaged(*block_sums(found, np.zeros(len(found.rows), np.int64)))[0]
    since = found.times_s - found.times_s.min()
    observations = len(np.unique(np.floor(since / calibration.dependence_s + 1e-6)))
    return np.nan_to_num(curve, nan=float(np.nanmean(curve))) * observations


def speaking(found: Sequence[Cell]) -> Floats:
    """Probability, (n_cells,), that the face of each cell is the one that speaks there. Where a track is
    sure as a whole, a cell need not be sure of the offset once more."""
    heights = np.array([cell.total.max() - np.log(len(cell.total)) for cell in found])
    for index in {cell.index for cell in found}:
        own = [i for i, cell in enumerate(found) if cell.index == index]
        whole = np.sum([found[i].total for i in own], axis=0)
        best = int(whole.argmax())
        if whole[best] - np.log(len(whole)) >= SURE_EVIDENCE:
            heights[own] = np.maximum(heights[own], [found[i].total[best] for i in own])
    odds = np.exp(np.minimum(heights, 30.0))
    return np.asarray(odds / (odds + 1.0 + _together(found) @ odds), np.float64)


def weigh(tracks: Sequence[Scores], found: Sequence[Cell]) -> list[Floats]:
    """How much each window counts, (n_windows,) 0..1 by track: the probability that its face speaks. Where no
    cell is likely, all of them count by how likely they are, so that many weak ones add up."""
    weights = [np.full(len(scores.times_s), MIN_WEIGHT) for scores in tracks]
    shares = speaking(found)
    best = shares.max(initial=0.0)
    scale = 1.0 if best >= COUNTED else 1.0 / max(best, 1e-9)
    for cell, share in zip(found, shares, strict=True):
        weights[cell.index][cell.windows] = max(MIN_WEIGHT, scale * share)
    return weights


def _together(found: Sequence[Cell]) -> Mask:
    """(n_cells, n_cells): whether two faces are seen at the same time for most of one's cell; neighbouring
    shots may touch."""
    index, start, end = (
        np.array([getattr(c, name) for c in found]) for name in ("index", "start_s", "end_s")
    )
    common = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
    return (index[:, None] != index) & (common > 0.5 * np.minimum((end - start)[:, None], end - start))


def turns(
    tracks: Sequence[Scores], found: Sequence[Cell], spoken: Sequence[Span], bias_ms: float = 0.0
) -> tuple[Turn, ...]:
    """Who speaks in each stretch of speech [start, end) of `spoken`, in order of time; neighbouring cells
    of one face as one. Of faces seen at once the likelier one, where it is likely at all."""
    shares = speaking(found)
    likely = [i for i in np.argsort(-shares, kind="stable") if shares[i] >= COUNTED]
    said: list[Turn] = []
    for span in spoken:
        left = [span]
        for i in likely:
            cell = found[i]
            offset = -FRAME_MS * float(tracks[cell.index].shifts[int(cell.total.argmax())]) - bias_ms
            said += [
                Turn(start, end, tracks[cell.index].track, offset, float(min(shares[i], CEILING)))
                for start, end in _common(left, cell)
            ]
            left = _without(left, cell)
        said += [Turn(start, end, None, None, 0.0) for start, end in left if end - start >= MIN_TURN_S]
    return _merged(sorted(said, key=lambda turn: turn.start_s))


def _common(spans: Sequence[Span], cell: Cell) -> list[Span]:
    cut = [(max(start, cell.start_s), min(end, cell.end_s)) for start, end in spans]
    return [(start, end) for start, end in cut if end - start > FRAME_S / 2]


def _without(spans: Sequence[Span], cell: Cell) -> list[Span]:
    parts = [
        part
        for start, end in spans
        for part in ((start, min(end, cell.start_s)), (max(start, cell.end_s), end))
    ]
    return [(start, end) for start, end in parts if end - start > FRAME_S / 2]


def _merged(said: Sequence[Turn]) -> tuple[Turn, ...]:
    """Neighbouring turns of one face as one, with the offset and the probability by length."""
    joined: list[Turn] = []
    for turn in said:
        last = joined[-1] if joined else None
        if last is None or last.track != turn.track or turn.start_s - last.end_s > FRAME_S:
            joined.append(turn)
            continue
        share = (turn.end_s - turn.start_s) / (turn.end_s - last.start_s)
        offset = None
        if last.offset_ms is not None and turn.offset_ms is not None:
            offset = share * turn.offset_ms + (1 - share) * last.offset_ms
        sure = share * turn.probability + (1 - share) * last.probability
        joined[-1] = Turn(last.start_s, turn.end_s, turn.track, offset, sure)
    return tuple(joined)


def foreign(
    tracks: Sequence[Scores],
    found: Sequence[Cell],
    talking: Sequence[Mask],
    calibration: Calibration,
    every_s: float,
) -> tuple[Foreign, ...]:
    """Where speech is heard over a moving mouth that does not say it, in order of time; neighbours as one.

    talking: by track (n_windows,), where the mouth moves while speech is heard; every_s: seconds from one
    window to the next. A face beside another one that speaks says nothing.
    """
    if calibration.mismatch_level is None:
        return ()
    stretches: list[Foreign] = []
    for group in _loose_runs(found, talking):
        index = group[0].index
        windows = np.concatenate([cell.windows for cell in group])
        windows = windows[talking[index][windows]]
        talk_s = len(windows) * every_s
        if talk_s < MIN_TALK_S:
            continue
        height = float(summed(tracks[index], windows, calibration).max())
        sure = talk_s >= FOREIGN_TALK_S and height <= FOREIGN_PER_S * talk_s
        if sure or height <= DOUBTED_EVIDENCE:
            stretches.append(Foreign(group[0].start_s, group[-1].end_s, talk_s, sure))
        else:  # a face that may speak: what is seen beside it is no more than a doubt
            stretches.append(Foreign(group[0].start_s, group[-1].end_s, 0.0, sure=False))
    return tuple(stretch for stretch in _joined(stretches) if stretch.talk_s)


def _joined(stretches: Sequence[Foreign]) -> list[Foreign]:
    """Those of faces seen at the same time as one, in order of time; sure where all of them are."""
    joined: list[Foreign] = []
    for after in sorted(stretches, key=lambda stretch: stretch.start_s):
        last = joined[-1] if joined else None
        if last is None or after.start_s >= last.end_s - CELL_S / 4:
            joined.append(after)
            continue
        end, talk = max(last.end_s, after.end_s), max(last.talk_s, after.talk_s)
        joined[-1] = Foreign(last.start_s, end, talk, last.sure and after.sure)
    return joined


def _loose_runs(found: Sequence[Cell], talking: Sequence[Mask]) -> list[list[Cell]]:
    """Runs of cells of one track that may hold foreign speech: nobody in view explains the speech there."""
    shares = speaking(found)
    explained = np.asarray((_together(found) & (shares >= COUNTED)).any(axis=1))
    runs: list[list[Cell]] = []
    last = -2
    for i, cell in enumerate(found):
        if shares[i] >= COUNTED or explained[i] or not talking[cell.index][cell.windows].any():
            continue
        if last == i - 1 and found[last].index == cell.index:
            runs[-1].append(cell)
        else:
            runs.append([cell])
        last = i
    return runs
