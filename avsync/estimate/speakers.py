"""Which face speaks when: each face is weighed by the evidence of its own time, never by its rank in the
file.

A track is cut into cells of a few seconds. A cell's evidence is that of its best offset against "this face
does not speak"; where several faces are seen at once, the one that explains the speech better takes the
cell. Pure numpy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_MS, FRAME_S, WINDOW_FRAMES
from avsync.core.records import Scores, Span
from avsync.core.report import Offset, Turn
from avsync.estimate.calibration import Calibration, log_ratios
from avsync.estimate.offset import along, near
from avsync.estimate.peak import averaged, block_sums, evidence

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CELL_S = 4.0
"""Length of a cell: long enough for a speaker to be told from a listener, short enough for people to take
turns."""
MIN_WEIGHT = 0.05
MIN_TURN_S = 0.3
"""Shorter speech that no visible face says is not worth a turn."""
MIN_HEARD_S = 1.0
"""A face with less speech in all is not said to speak: a laugh, or the edge of somebody else's turn."""
COUNTED = 0.5
"""A window with a lower weight was not judged."""
JUMP_REACH_S = 2.0
"""A jump was first found no further off than this."""
FILE_SHARE = 0.9
"""Share of the speakers of a file that have its offset; the others may have any."""
TALKS = 2.0
"""Log odds that a face speaks, before it is compared with the audio, where its mouth moves while speech is
heard for most of a cell."""


@dataclass(frozen=True)
class Cell:
    """Part [start_s, end_s) of the track with number `index` in the list: `windows` are its windows' numbers,
    `rows` (n_windows, n_shifts) their log-likelihood ratios, 0 where nothing can be compared, and `total`
    (n_shifts,) those of all together."""

    index: int
    start_s: float
    end_s: float
    windows: npt.NDArray[np.int64]
    rows: Floats
    total: Floats


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
            rows = log_ratios(scores.logits[windows], calibration.temperature, calibration.outlier)
            span = float(edges[i]), float(edges[i + 1])
            found.append(Cell(index, *span, windows, np.nan_to_num(rows), total))
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


def speaking(
    found: Sequence[Cell],
    answer: Offset | None = None,
    calibration: Calibration | None = None,
    talking: Sequence[Mask] | None = None,
) -> Floats:
    """Probability, (n_cells,), that the face of each cell is the one that speaks there. Where a track is
    sure as a whole, a cell need not be sure of the offset once more; nor where it has that of the file,
    `answer`. talking: by track (n_windows,), where the mouth moves while speech is heard."""
    heights = np.zeros(len(found))
    for index in {cell.index for cell in found}:
        own = [i for i, cell in enumerate(found) if cell.index == index]
        totals = np.array([found[i].total for i in own])
        heights[own] = np.logaddexp.reduce(totals + _by_the_rest(totals), axis=1)
    if answer is not None and (expected := judged_near(answer, found)) is not None:
        bias_ms = (calibration or Calibration()).bias_ms
        there = [
            np.logaddexp.reduce([_along(cell, answer.shifts, *pair, bias_ms) for pair in pairs])
            - np.log(len(pairs))
            for cell, pairs in zip(found, expected, strict=True)
        ]
        heights = np.logaddexp(np.log(FILE_SHARE) + there, np.log(1 - FILE_SHARE) + heights)
    if talking is not None:
        heights = heights + TALKS * np.array([talking[c.index][c.windows].mean() > 0.5 for c in found])
    odds = np.exp(np.minimum(heights, 30.0))
    return np.asarray(odds / (odds + 1.0 + together(found) @ odds), np.float64)


def _by_the_rest(totals: Floats) -> Floats:
    """Log of the probability of each offset, (n_cells, n_shifts), for each cell of a track: most likely that
    of its other cells, else any."""
    rest = totals.sum(axis=0) - totals
    theirs = np.log(FILE_SHARE) + rest - np.logaddexp.reduce(rest, axis=1, keepdims=True)
    return np.logaddexp(theirs, np.log((1 - FILE_SHARE) / totals.shape[1]))


def judged_near(answer: Offset, found: Sequence[Cell]) -> list[list[tuple[float, float]]] | None:
    """The offsets of the file, in ms, that each cell may have before and after its middle, which differ where
    it may hold a jump: those nearest to it, and where it was not judged, those on either side of it. None
    where the file has no sure offset."""
    starts, ends = (np.array([getattr(cell, name) for cell in found]) for name in ("start_s", "end_s"))
    before, after = (along(answer, edge) for edge in (starts - JUMP_REACH_S, ends + JUMP_REACH_S))
    middle = along(answer, (starts + ends) / 2)
    if before is None or after is None or middle is None:
        return None
    steady = not answer.drift_ms_per_min
    pairs = [
        [(b, a) if abs(a - b) > FRAME_MS and steady else (m, m)]
        for b, m, a in zip(before.tolist(), middle.tolist(), after.tolist(), strict=True)
    ]
    judged = [(s.start_s, s.end_s, s.offset_ms) for s in answer.segments if s.offset_ms is not None]
    at_s = (starts + ends) / 2
    inside = np.array([[start_s <= at < end_s for start_s, end_s, _ in judged] for at in at_s])
    elsewhere = ~((starts[:, None] < ends) & (starts < ends[:, None]))
    witnessed = elsewhere.astype(int) @ inside > 0
    for i, own in enumerate(pairs if steady else []):
        # An offset that nothing but this moment speaks for is no offset of the file.
        known = [span for span, others in zip(judged, witnessed[i], strict=True) if others] or judged
        if inside[i].any() and not (inside[i] & witnessed[i]).any() and known is not judged:
            own.clear()
        before_it = [offset_ms for start_s, _, offset_ms in known if start_s <= at_s[i]][-1:]
        after_it = [offset_ms for _, end_s, offset_ms in known if end_s >= at_s[i]][:1]
        own += [(ms, ms) for ms in {*before_it, *after_it} if not own or abs(ms - middle[i]) > FRAME_MS]
    return pairs


def _along(
    cell: Cell, shifts: npt.NDArray[np.int64], before_ms: float, after_ms: float, bias_ms: float
) -> float:
    """The log-likelihood ratio of a cell that has one offset first and then the other; where they are the
    same, of that one."""
    if before_ms == after_ms:
        return near(cell.total, shifts, before_ms + bias_ms)
    columns = [int(np.abs(-FRAME_MS * shifts - ms - bias_ms).argmin()) for ms in (before_ms, after_ms)]
    first, then = (np.concatenate([[0.0], np.cumsum(cell.rows[:, column])]) for column in columns)
    gained = first + then[-1] - then
    # As many observations as the sum of the cell counts, less what the choice of the place is worth.
    scale = float(np.abs(cell.total).sum() / max(np.abs(cell.rows.sum(axis=0)).sum(), 1e-9))
    ends = max(gained[0], gained[-1]) * scale
    return float(max(ends, gained.max() * scale - np.log(len(cell.rows) * scale + 1)))


def weigh(
    tracks: Sequence[Scores],
    found: Sequence[Cell],
    answer: Offset | None = None,
    calibration: Calibration | None = None,
    talking: Sequence[Mask] | None = None,
) -> list[Floats]:
    """How much each window counts, (n_windows,) 0..1 by track: the probability that its face speaks. Where no
    cell is likely, all of them count by how likely they are, so that many weak ones add up."""
    weights = [np.full(len(scores.times_s), MIN_WEIGHT) for scores in tracks]
    shares = speaking(found, answer, calibration, talking)
    best = shares.max(initial=0.0)
    scale = 1.0 if best >= COUNTED else 1.0 / max(best, 1e-9)
    for cell, share in zip(found, shares, strict=True):
        weights[cell.index][cell.windows] = max(MIN_WEIGHT, scale * share)
    return weights


def together(found: Sequence[Cell]) -> Mask:
    """(n_cells, n_cells): whether two faces are seen at the same time for most of one's cell; neighbouring
    shots may touch."""
    index, start, end = (
        np.array([getattr(c, name) for c in found]) for name in ("index", "start_s", "end_s")
    )
    common = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
    return (index[:, None] != index) & (common > 0.5 * np.minimum((end - start)[:, None], end - start))


def turns(
    tracks: Sequence[Scores],
    found: Sequence[Cell],
    spoken: Sequence[Span],
    answer: Offset | None = None,
    calibration: Calibration | None = None,
    talking: Sequence[Mask] | None = None,
) -> tuple[Turn, ...]:
    """Who speaks in each stretch of speech [start, end) of `spoken`, in order of time; neighbouring cells
    of one face as one. Of faces seen at once the likelier one, where it is likely at all."""
    shares = speaking(found, answer, calibration, talking)
    used = calibration or Calibration()
    likely = [i for i in np.argsort(-shares, kind="stable") if shares[i] >= COUNTED]
    said: list[Turn] = []
    for span in spoken:
        left = [span]
        for i in likely:
            cell = found[i]
            offset = -FRAME_MS * float(tracks[cell.index].shifts[int(cell.total.argmax())]) - used.bias_ms
            said += [
                Turn(start, end, tracks[cell.index].track, offset, float(min(shares[i], used.ceiling)))
                for start, end in _common(left, cell)
            ]
            left = _without(left, cell)
        said += [Turn(start, end, None, None, 0.0) for start, end in left if end - start >= MIN_TURN_S]
    return _merged(sorted(said, key=lambda turn: turn.start_s))


def heard(said: Sequence[Turn]) -> frozenset[int]:
    """The numbers of the tracks that speak for at least MIN_HEARD_S in all."""
    lengths: defaultdict[int, float] = defaultdict(float)
    for turn in said:
        if turn.track is not None:
            lengths[turn.track] += turn.end_s - turn.start_s
    return frozenset(track for track, seconds in lengths.items() if seconds >= MIN_HEARD_S)


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
