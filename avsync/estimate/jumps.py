"""Where, between two stretches with different offsets, the audio jumps. Pure numpy.

Every candidate place is judged by all windows around it, each of which is likelier with the offset of one
side or of the other, and by where jumps tend to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_S
from avsync.core.records import Span
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import Evidence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AT_MARKS = 0.8
"""Share of the jumps near the beginning of a shot, or an interruption of the audio, that lie exactly there:
an offset belongs to a whole scene more often than it jumps in the midst of one."""
IN_PAUSES = 0.1
"""Share of the jumps near a pause of the speech that lie in it, where an editor would cut."""
OBSERVATIONS = 1.5
"""Independent observations in a stretch of `dependence_s`, to tell two offsets apart. With known offsets, of
89 jumps at cuts 88 are placed within 0.2 s (86 with 2 observations), of 41 in the midst of a shot 36 (37);
without the windows whose context reaches over the jump, of 30 only 13 to 22 (val lists, avsync-4)."""
TAIL = 0.025
"""Share of the distribution on either side of the interval."""


@dataclass(frozen=True)
class Place:
    """When the offset changes, in seconds: most likely `at_s`, and with 95 % probability within `between`."""

    at_s: float
    between: Span


def place(found: Evidence, near: Ints, columns: tuple[int, int], calibration: Calibration) -> Place:
    """When the offset changes from that of one column to that of the other, by the windows `near`: the median
    of its distribution, in which the beginnings of shots, interruptions of the audio, and pauses of the
    speech, are likelier than other times.

    It is the audio that jumps. A window shows on which side of the jump the audio lies that fits it; for some
    that is on both sides, because it is heard twice, and for some on neither.
    """
    times = found.times_s[near]
    trust = _among_faces(times, found.weights[near], calibration.dependence_s)
    rows = np.nan_to_num(found.rows[near]) * trust[:, None]
    before, after = (rows[:, column] for column in columns)
    heard_before, heard_after = (times + FRAME_S * float(found.shifts[column]) for column in columns)
    # Before the first of these windows nobody may have been seen for a while.
    since_s = found.times_s[near[0] - 1] if near[0] else times[0]
    begins, breaks = (
        marked[(marked > since_s) & (marked <= times[-1])] for marked in (found.cuts, found.breaks)
    )
    anywhere = np.arange(times[0], times[-1] + 1.5 * FRAME_S, FRAME_S)
    places = np.concatenate([anywhere, breaks, begins])
    half = FRAME_S / 2
    first, then = heard_before < places[:, None] - half, heard_after >= places[:, None] - half
    # Where a shot begins, there is other video on the other side, too.
    first[len(places) - len(begins) :] &= times < begins[:, None] - half
    then[len(places) - len(begins) :] &= times >= begins[:, None] - half
    both = np.logaddexp(before, after) - np.log(2)
    said = np.where(first & then, both, np.where(first, before, np.where(then, after, 0.0))).sum(axis=1)
    observed = OBSERVATIONS * len(np.unique(np.floor(times / calibration.dependence_s + 1e-6)))
    prior = _prior(anywhere, len(begins) + len(breaks), found.pauses)
    log_share = said * min(observed / len(near), 1.0) + np.log(prior)
    share = np.exp(log_share - log_share.max())
    order = np.argsort(places, kind="stable")
    summed = np.cumsum(share[order]) / share.sum()
    early, middle, late = places[order][
        np.searchsorted(summed, (TAIL, 0.5, 1 - TAIL)).clip(0, len(order) - 1)
    ]
    return Place(float(middle), (float(early), float(late)))


def _among_faces(times: Floats, weights: Floats, seconds: float) -> Floats:
    """How much each window counts beside those of other faces at the time, (n,): one that may not be the
    speaker's, but is the only one seen, is the best there is."""
    cell = np.unique(np.floor(times / seconds + 1e-6), return_inverse=True)[1].reshape(-1)
    best = np.zeros(int(cell.max()) + 1)
    np.maximum.at(best, cell, weights)
    return np.asarray(weights / best[cell], np.float64)


def _prior(anywhere: Floats, marks: int, pauses: Floats) -> Floats:
    """Probability of each of the times `anywhere` and, after them, of each of `marks` exact places."""
    paused = np.zeros(len(anywhere), bool)
    for start_s, end_s in pauses:
        paused |= (anywhere >= start_s) & (anywhere < end_s)
    at_marks, in_pauses = AT_MARKS * bool(marks), IN_PAUSES * bool(paused.any())
    even = np.full(len(anywhere), (1 - at_marks - in_pauses) / len(anywhere))
    return np.concatenate(
        [even + in_pauses * paused / max(int(paused.sum()), 1), np.full(marks, at_marks / max(marks, 1))]
    )
