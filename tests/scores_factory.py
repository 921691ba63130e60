"""Made scores for tests: windows whose best offset is known, in noise."""

import numpy as np

from avsync.records import Scores


def made(
    n=125,
    shift: float | np.ndarray = 0.0,
    height=3.0,
    seed=0,
    radius=15,
    stride=1,
    ends=False,
    start_s=0.0,
    silent=0.3,
):
    """Scores of n windows whose peak is at `shift` frames (a number or one per window), in noise that is as
    correlated as that of overlapping windows; a third of the time is silent. `ends`: a clip by itself, so
    pairs beyond its ends are missing."""
    rng = np.random.default_rng(seed)
    shifts = np.arange(-radius, radius + 1)
    sums = rng.normal(size=(n * stride + 5, len(shifts) + 5)).cumsum(axis=0).cumsum(axis=1)
    sums = sums[5:] - sums[:-5]
    noise = 0.3 * (sums[:, 5:] - sums[:, :-5])[::stride]
    speaks = np.repeat(rng.random(n // 8 + 1) > silent, 8)[:n]
    where = np.broadcast_to(np.asarray(shift, float), (n,))
    logits = noise + speaks[:, None] * height * np.exp(-((shifts - where[:, None]) ** 2) / 2.9)
    frame = np.arange(n) * stride
    if ends:
        sound = frame[:, None] + shifts
        logits = np.where((sound >= 0) & (sound <= frame[-1]), logits, np.nan)
    return Scores(0, start_s + frame / 25, shifts.astype(np.int64), logits.astype(np.float32))
