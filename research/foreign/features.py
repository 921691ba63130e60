"""What would tell short foreign excerpts from matching ones better than the probability does?

    python research/foreign/features.py CACHE --delays research/labels/val-delays.json

Draws excerpts of 1.2 to 2.6 s of `val`, `wildval` and the held-out recordings of `unaligned`: matching
ones, and twice as many with another speaker's audio. Fits the logistic regression of the probability with
one figure more at a time, each time on four fifths of the speakers, and prints for each: the log loss;
matching excerpts answered at 75 %, right of these, and foreign ones answered (%); matching ones answered
where 1, 2, 3 and 4 % of the foreign ones are. The foreign ones count as a quarter of all, as in
`avsync models calibrate`. Five minutes of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_RATE, MIN_PROBABILITY
from avsync.data.labels import delay_of, read_delays, speaker
from avsync.data.shards import Store
from avsync.estimate import peak
from avsync.estimate.calibration import FEATURES, Calibration
from avsync.evaluation.calibrate import make_cases
from avsync.evaluation.fitting import RIDGE, Case, is_right
from avsync.networks import checkpoint

Floats = npt.NDArray[np.float64]

SPLITS = ("val", "unaligned", "wildval")
LONGEST_S = 2.6
DIVISIONS, FOLDS = 8, 5
FOREIGN_SHARE = 1 / 3
"""Weight of the foreign excerpts against the matching ones."""
STEPS = 100
EDGE = 5
"""Frames from the edge of the search beyond which it does not matter."""
DESCRIBED = ("level", "total", "lead", "lowest", "short of best", "entropy")
ALLOWED = (0.01, 0.02, 0.03, 0.04)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--delays", type=Path, required=True)
    parser.add_argument("--model", default="avsync-4")
    parser.add_argument("--count", type=int, default=1500, help="matching excerpts")
    args = parser.parse_args()
    loaded, known = checkpoint.load(args.model), read_delays(str(args.delays))
    calibration = Calibration.from_dict(loaded.calibration)
    store = Store(args.cache, SPLITS).select(lambda clip: delay_of(clip, known) is not None)
    cases = make_cases(loaded, store, known, args.count, seed=92, swapped_every=0, longest_s=LONGEST_S)
    cases += make_cases(loaded, store, known, 2 * args.count, seed=91, swapped_every=1, longest_s=LONGEST_S)
    table = [figures_of(case, calibration) for case in cases]
    columns = {name: np.array([row[name] for row in table]) for name in table[0]}
    speakers = np.array([speaker(case) for case in cases])
    foreign = np.array([case.truth_ms is None for case in cases])
    right, claimed = columns["right"] > 0, columns["claimed"]
    print(f"{int((~foreign).sum())} matching, {int(foreign.sum())} foreign")
    low, high = np.percentile(_shares(claimed, foreign, speakers), [2.5, 97.5])
    print("as shipped", *summary(claimed[None], right, foreign), f"foreign answered: {low:.1f} to {high:.1f}")
    seconds = columns["seconds"]
    sure = claimed >= MIN_PROBABILITY
    for shortest, longest in ((0.0, 1.5), (1.5, 2.0), (2.0, np.inf)):
        here = (seconds >= shortest) & (seconds < longest)
        own, other = here & ~foreign, here & foreign
        print(
            f"  {shortest} to {longest} s: matching {100 * sure[own].mean():.1f} % of {own.sum()},"
            f" right {100 * right[own & sure].mean():.1f};"
            f" foreign {100 * sure[other].mean():.1f} of {other.sum()}"
        )
    groups = (foreign & sure, foreign & ~sure, ~foreign & sure & right)
    print(
        "mean and standard deviation of foreign ones answered, not answered, matching ones answered rightly"
    )
    for name in DESCRIBED:
        values = (columns[name][group] for group in groups)
        print(f"  {name}:", *(f"{found.mean():.2f} +- {found.std():.2f}" for found in values))
    weights = weights_of(foreign)
    base = [columns[name] for name in FEATURES]
    for name, more in ADDED.items():
        x = np.column_stack([*base, *more(columns)])
        print(name, *summary(held_out(x, right, weights, speakers), right, foreign))


def figures_of(case: Case, calibration: Calibration) -> dict[str, float]:
    """What the probability is computed from, what was tried beside it, and whether the answer is right."""
    found = peak.evidence(case.scores, calibration)
    measured = peak.measure(found, calibration)
    curve, shifts = measured.curve, found.shifts
    best = int(np.nanargmax(curve))
    rest = np.where(np.abs(shifts - shifts[best]) > peak.RIVAL_FRAMES, curve, np.nan)
    rival = int(np.nanargmax(rest))
    third = np.nanmax(np.where(np.abs(shifts - shifts[rival]) > peak.RIVAL_FRAMES, rest, np.nan))
    likely = np.exp(np.nan_to_num((curve - curve[best]) * measured.observations, nan=-np.inf))
    likely /= likely.sum()
    at_best = found.logits[:, best].astype(np.float64)
    block = peak.time_blocks(found.times_s, calibration.dependence_s)
    blocks = [at_best[(block == b) & np.isfinite(at_best)] for b in np.unique(block)]
    halves = [np.nan_to_num(half).sum(axis=0) for half in np.array_split(found.rows, 2)]
    return dict(zip(FEATURES, measured.features, strict=True)) | {
        "right": float(is_right(measured, case)),
        "claimed": measured.probability,
        "seconds": (len(case.scores.times_s) + 4) / FRAME_RATE,
        "third": float(np.sqrt(max(curve[best] - third, 0.0) * measured.observations)),
        "entropy": float(-(likely * np.log(likely + 1e-12)).sum()),
        "worse half": float(min(half[best] - half.max() for half in halves)),
        "lowest": float(min(np.mean(values) for values in blocks if len(values))),
        "spread": float(np.nanstd(at_best)),
        "from the edge": float(min(best, len(curve) - 1 - best, EDGE)),
        "covered": float(np.isfinite(at_best).mean()),
        "short of best": float(np.nanmean(np.nanmax(found.logits, axis=1)) - np.nanmean(at_best)),
    }


Columns = dict[str, Floats]
ADDED: dict[str, Callable[[Columns], list[Floats]]] = {
    "as it is": lambda _: [],
    "logarithm of the seconds": lambda c: [np.log(c["seconds"])],
    "all times the logarithm of the seconds": lambda c: [c[name] * np.log(c["seconds"]) for name in FEATURES],
    "level x logarithm of the observations": lambda c: [c["level"] * c["observations"]],
    "level x total": lambda c: [c["level"] * c["total"] / 5],
    "squares": lambda c: [c[name] ** 2 / 5 for name in ("total", "lead", "level", "overall")],
    "lead over the second rival": lambda c: [c["third"]],
    "entropy of the offsets": lambda c: [c["entropy"]],
    "the worse half": lambda c: [c["worse half"]],
    "lowest 0.4 s": lambda c: [c["lowest"]],
    "spread of the level": lambda c: [c["spread"]],
    "share of windows with the candidate": lambda c: [c["covered"]],
    "level below each window's best": lambda c: [c["short of best"]],
    "frames from the edge of the search, which the draw gives away": lambda c: [c["from the edge"]],
}


def weights_of(foreign: npt.NDArray[np.bool_]) -> Floats:
    """(n,): what each excerpt counts."""
    return np.where(foreign, FOREIGN_SHARE * (~foreign).sum() / foreign.sum(), 1.0)


def held_out(x: Floats, right: npt.NDArray[np.bool_], weights: Floats, speakers: npt.NDArray) -> Floats:
    """(DIVISIONS, n): probabilities of each fifth of the speakers by the fit to the others."""
    rng, names = np.random.default_rng(1), np.unique(speakers)
    said = np.zeros((DIVISIONS, len(x)))
    for row in said:
        fold = dict(zip(rng.permutation(names).tolist(), np.arange(len(names)) % FOLDS, strict=True))
        part = np.array([fold[name] for name in speakers.tolist()])
        for number in range(FOLDS):
            here = part == number
            w = logistic(x[~here], right[~here].astype(np.float64), weights[~here])
            row[here] = np.minimum(0.5 * (1 + np.tanh((w[0] + x[here] @ w[1:]) / 2)), Calibration.ceiling)
    return said


def logistic(x: Floats, y: Floats, weights: Floats) -> Floats:
    """The regression of `fit_calibration`, of excerpts that count differently."""
    x = np.column_stack([np.ones(len(x)), x])
    penalty = RIDGE * np.diag([0.0] + [1.0] * (x.shape[1] - 1)) + 1e-6 * np.eye(x.shape[1])
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 0.5 * (1 + np.tanh(x @ w / 2))
        curvature = (x.T * (weights * p * (1 - p))) @ x + penalty
        step = np.linalg.solve(curvature, x.T @ (weights * (y - p)) - penalty @ w)
        w = w + step / max(1.0, float(np.abs(step).max()))
    return w


def summary(said: Floats, right: npt.NDArray[np.bool_], foreign: npt.NDArray[np.bool_]) -> list[str]:
    """What is printed of probabilities (divisions, n), as means over the divisions."""
    weights = weights_of(foreign)
    rows = []
    for p in said:
        loss = -np.average(np.log(np.where(right, p, 1 - p)), weights=weights)
        sure = p >= MIN_PROBABILITY
        shares = [sure[~foreign].mean(), right[sure & ~foreign].mean(), sure[foreign].mean()]
        shares += [(p[~foreign] >= np.quantile(p[foreign], 1 - share)).mean() for share in ALLOWED]
        rows.append([loss, *(100 * share for share in shares)])
    loss, *percent = np.mean(rows, axis=0)
    return [f"{loss:.3f}", *(f"{value:.1f}" for value in percent)]


def _shares(claimed: Floats, foreign: npt.NDArray[np.bool_], speakers: npt.NDArray) -> list[float]:
    """Share (%) of the foreign excerpts that are answered, in 1,000 drawings of the speakers."""
    rng, names = np.random.default_rng(0), np.unique(speakers)
    answered = {name: claimed[foreign & (speakers == name)] >= MIN_PROBABILITY for name in names.tolist()}
    drawn = (rng.choice(names, len(names)).tolist() for _ in range(1000))
    return [100 * float(np.mean(np.concatenate([answered[name] for name in some]))) for some in drawn]


if __name__ == "__main__":
    main()
