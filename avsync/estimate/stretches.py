"""Where along a piece of the video the evidence supports its offset, stretch by stretch. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from avsync.core.constants import FRAME_MS, MIN_PROBABILITY
from avsync.core.records import Span
from avsync.core.report import Segment
from avsync.estimate.calibration import Calibration
from avsync.estimate.paths import Blocks, Floats, Ints
from avsync.estimate.peak import Evidence, Measure
from avsync.estimate.pieces import Piece

STRETCH_S = 10.0
"""Evidence along the video is weighed in stretches of about this length; one with too little is a gap."""
MAX_STRETCHES = 120
MIN_STRETCH_S = 1.0
"""No stretch of evidence ends at a cut nearer than this to its piece's end."""
STRETCH_OBSERVATIONS = 20
"""Where windows are sparse, a stretch is longer, so as to hold about this many independent ones."""
STRETCH_CERTAINTY = 0.5
"""Probability, from a stretch alone, that it has the offset of its piece, for it to count as judged."""
UNFIT = -2.0
"""Sum of log-likelihood ratios at or below which a stretch has no offset of its own. The best offset of
noise comes to about -3 in three seconds and to -10 in ten; that of speech to 0 and more."""
TAKEN_IN = 1.5
"""What says too little by itself belongs to the fault beside it if it is likelier to have the offset of that
than the one of the rest by this much (natural logarithm): four to one."""
CONTRADICTION = 0.02
"""Probability at or below which a stretch contradicts the offset of its piece."""


def segments_of(
    found: Evidence,
    blocks: Blocks,
    piece: Piece,
    rest: Measure,
    span: Span,
    calibration: Calibration,
) -> Iterator[Segment]:
    """Neighbouring stretches of a piece, which begins and ends at `span`, that are judged, or that are gaps,
    as one segment each. `rest`: what the video is measured by."""
    m, (start_s, end_s) = piece.measure, span
    times = found.times_s[piece.windows]
    observed = len(np.unique(np.floor((times - times[0]) / calibration.dependence_s + 1e-6)))
    edges = _edges(found, start_s, end_s, observed)
    count = len(edges) - 1
    stretch = np.searchsorted(edges[1:-1], times, side="right")
    if m.probability < MIN_PROBABILITY:
        weights = [_Weight(False)] * count
    elif observed >= m.observations and count == 1:
        weights = [_Weight(True)]
    else:
        own = [piece.windows[stretch == i] for i in range(count)]
        weights = [_weight(found, blocks, m, windows, rest, calibration.bias_ms) for windows in own]
    faulty = [piece.fault and inside for inside in _taken_in(weights)]
    states = [(w.judged, w.hint_ms, w.against, fault) for w, fault in zip(weights, faulty, strict=True)]
    first = 0
    for past in range(1, count + 1):
        if past < count and states[past] == states[first] and _flat(piece, edges[first], edges[past + 1]):
            continue
        place = float(edges[first]), float(edges[past])
        offset = piece.offset_at(sum(place) / 2)
        if weights[first].judged:
            yield Segment(*place, offset, m.uncertainty_ms, m.probability, piece.fault)
        else:
            hint = weights[first].hint_ms
            yield Segment(
                *(*place, None, None, min(m.probability, MIN_PROBABILITY / 2)),
                fault=faulty[first],
                hint_ms=None if hint is None else hint + offset,
                against=weights[first].against,
            )
        first = past


def _edges(found: Evidence, start_s: float, end_s: float, observed: int) -> Floats:
    """Where the stretches of a piece with this many observations begin and end: at cuts, and in between so
    that none is much longer than STRETCH_S."""
    inside = found.cuts[(found.cuts > start_s + MIN_STRETCH_S) & (found.cuts < end_s - MIN_STRETCH_S)]
    if len(inside) >= MAX_STRETCHES:
        inside = inside[:: -(-len(inside) // MAX_STRETCHES)]
    bounds = [start_s, *inside.tolist(), end_s]
    edges = [start_s]
    for first, past in pairwise(bounds):
        part = observed * (past - first) / max(end_s - start_s, 1e-9)
        count = max(
            1, min(round((past - first) / STRETCH_S), int(part // STRETCH_OBSERVATIONS), MAX_STRETCHES)
        )
        edges += np.linspace(first, past, count + 1)[1:].tolist()
    return np.array(edges)


def _flat(piece: Piece, start_s: float, end_s: float) -> bool:
    """Whether the offset changes by no more than a frame between two times."""
    return abs(piece.slope) * (end_s - start_s) <= FRAME_MS


class _Weight(NamedTuple):
    """Whether a stretch supports its piece; the offset that it points to instead, if any, as the difference
    in ms; whether it contradicts its piece's offset, for another one or for none; by how much that offset is
    likelier than the one of the rest of the video (natural logarithm)."""

    judged: bool
    hint_ms: float | None = None
    against: bool = False
    lead: float = 0.0


def _weight(
    found: Evidence, blocks: Blocks, m: Measure, windows: Ints, rest: Measure, bias_ms: float
) -> _Weight:
    """What the blocks of these windows alone say about the offset of their piece."""
    if not len(windows):
        return _Weight(False)
    total = blocks.values[np.unique(blocks.block[windows])].sum(axis=0)
    share = np.exp(total - total.max())
    offsets = -FRAME_MS * found.shifts - bias_ms
    apart = offsets - m.offset_ms
    near = np.abs(apart) <= 1.5 * FRAME_MS
    certainty = float(share[near].sum() / share.sum())
    best = int(total.argmax())
    contradicts = certainty <= CONTRADICTION
    hint = float(apart[best]) if contradicts and total[best] > UNFIT else None
    # A blind guess must beat the offset as clearly as the others do.
    against = contradicts and bool(total[near].max(initial=-np.inf) < np.log(CONTRADICTION))
    lead = total[np.abs(apart).argmin()] - total[np.abs(offsets - rest.offset_ms).argmin()]
    return _Weight(certainty >= STRETCH_CERTAINTY, hint, against, float(lead))


def _taken_in(weights: Sequence[_Weight]) -> list[bool]:
    """Which stretches of a piece belong to it: all from the first that is judged to the last, and as many on
    either side of these as are together likelier by TAKEN_IN to have its offset than that of the rest."""
    judged = [i for i, weight in enumerate(weights) if weight.judged]
    if not judged:
        return [False] * len(weights)
    first, past = judged[0], judged[-1] + 1
    begin, end = first - _reach(weights[:first][::-1]), past + _reach(weights[past:])
    return [begin <= i < end for i in range(len(weights))]


def _reach(outwards: Sequence[_Weight]) -> int:
    """How many of the stretches on one side belong to what was judged."""
    leads = np.cumsum([weight.lead for weight in outwards])
    return int(leads.argmax()) + 1 if leads.max(initial=0.0) >= TAKEN_IN else 0
