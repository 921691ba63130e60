"""Constants of a checkpoint that turn its logits into evidence and probability, and how they are fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FEATURES = ("gap", "agreement", "observations", "total", "lead", "level", "overall")
"""What the probability is computed from; `peak._features` says what each is."""
FEWEST_FEATURES = 3
"""Cards written before the other features existed have this many weights; the rest are 0."""
MAX_ROWS = 20_000
"""Windows that the temperature is fitted on, drawn from all over the clips; more would change nothing."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Plain numbers that belong to one checkpoint and are stored in its YAML."""

    temperature: float = 1.5
    """Logits are divided by it; fitted so that a window's softmax over the offsets is a probability."""
    outlier: float = 0.1
    """Share (0..1) of windows that say nothing or something wrong; bounds the damage of each."""
    dependence_s: float = 0.4
    """Windows closer than this, in seconds, count as one observation."""
    bias_ms: float = 0.0
    """What the model answers for material in sync; subtracted."""
    spread: float = 1.0
    """Factor from the resampled 95 % interval to one that holds on real clips."""
    floor_ms: float = 10.0
    """Half width of the 95 % interval with unlimited evidence."""
    weights: tuple[float, ...] = (-3.0, 0.35, 0.95, 0.5, 0.0, 0.0, 0.0, 0.0)
    """Logistic model of the probability: the intercept, then one weight for each of FEATURES. By default it
    rests on what does not depend on the network."""
    ceiling: float = 0.98
    """Upper limit of the probability: the share of the clearest pieces with a known truth that are right."""
    change_cost: float = 6.0
    """Log-likelihood that a change of offset along the video must win to be believed."""
    mismatch_level: float | None = None
    """A curve whose top is lower does not come from lips that say this speech; None: never judged."""

    support: float = 1.0
    """Log-likelihood ratio of the file's offset at or above which three seconds of speech support it."""
    contradiction: float = -0.8
    """Log-likelihood ratio for each second of speech at or below which it contradicts the offset."""
    fit: float = 5.0
    """Least log-likelihood ratio of three seconds of speech or more with an offset of their own."""
    brief_fit: float = 6.0
    """The same of two seconds and less."""
    peculiar: float = 6.0
    """However badly the lips are read, an offset that is likelier than all others by this much (natural
    logarithm), times the root of the seconds of speech, is that of the speech."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists only, for YAML."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote; absent entries keep their defaults. Raises ValueError for a bad one."""
        if not isinstance(values, Mapping):
            raise ValueError(f"a calibration has names and numbers, not {values!r}")
        known = {f.name for f in fields(Calibration)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown calibration entries: {', '.join(unknown)}")
        numbers = {k: v for k, v in values.items() if k != "weights"}
        for name, value in numbers.items():
            if not (_is_number(value) or (value is None and name == "mismatch_level")):
                raise ValueError(f"calibration entry {name} must be a number, not {value!r}")
        weights = values.get("weights", Calibration.weights)
        if not isinstance(weights, list | tuple) or not all(map(_is_number, weights)):
            raise ValueError(f"calibration weights must be numbers, not {weights!r}")
        if not 1 + FEWEST_FEATURES <= len(weights) <= 1 + len(FEATURES):
            raise ValueError(f"calibration needs {1 + len(FEATURES)} weights, not {len(weights)}")
        missing = 1 + len(FEATURES) - len(weights)
        return Calibration(**numbers, weights=(*map(float, weights), *(0.0,) * missing))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def probability(features: npt.ArrayLike, calibration: Calibration) -> Floats:
    """(..., n_features) -> (...): probability, 0..ceiling, that the offset is within one frame."""
    logit = calibration.weights[0] + np.asarray(features, np.float64) @ np.array(calibration.weights[1:])
    return np.minimum(0.5 * (1 + np.tanh(logit / 2)), calibration.ceiling)


def fit_calibration(
    features: npt.ArrayLike,
    correct: npt.ArrayLike,
    base: Calibration | None = None,
    ridge: float = 0.1,
) -> Calibration:
    """`base` with the weights of a logistic regression, by Newton's method.

    features: (n, n_features) as `peak._features` gives them; correct: (n,) bool, whether each answer was
    within one frame. `ridge` keeps the weights finite where the features separate the answers, and small
    where several say the same.
    """
    x = np.asarray(features, np.float64)
    x = np.column_stack([np.ones(len(x)), x])
    y = np.asarray(correct, np.float64)
    penalty = ridge * np.diag([0.0] + [1.0] * (x.shape[1] - 1)) + 1e-6 * np.eye(x.shape[1])
    w = np.zeros(x.shape[1])
    for _ in range(100):
        p = 0.5 * (1 + np.tanh(x @ w / 2))
        gradient = x.T @ (y - p) - penalty @ w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, gradient)
        w = w + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return replace(base or Calibration(), weights=tuple(float(v) for v in w))


def fit_temperature(
    logits: Sequence[npt.ArrayLike], truth: Sequence[int], base: Calibration | None = None
) -> Calibration:
    """`base` with the temperature and outlier share that make the true offsets most likely.

    logits: per clip (n_windows, n_shifts), NaN where missing; truth: per clip, the column of the true offset.
    """
    rows, columns = [], []
    for clip, column in zip(logits, truth, strict=True):
        scored = np.asarray(clip, np.float64)
        kept = scored[~np.isnan(scored[:, column])]
        rows.append(kept)
        columns.append(np.full(len(kept), column))
    x, k = np.concatenate(rows), np.concatenate(columns)
    if len(x) > MAX_ROWS:
        drawn = np.random.default_rng(0).choice(len(x), MAX_ROWS, replace=False)
        x, k = x[drawn], k[drawn]
    outliers = np.linspace(0.02, 0.9, 45)
    best = (-np.inf, 1.0, 0.5)
    for temperature in np.geomspace(0.1, 20, 107):
        likely = np.exp(log_ratios(x, temperature, 0.0)[np.arange(len(x)), k])
        fit = np.nanmean(np.log((1 - outliers) * likely[:, None] + outliers), axis=0)
        best = max(best, (float(fit.max()), float(temperature), float(outliers[fit.argmax()])))
    return replace(base or Calibration(), temperature=best[1], outlier=best[2])


def log_ratios(logits: npt.ArrayLike, temperature: float, outlier: float) -> Floats:
    """Log of (probability of each offset given one window) over (that of a blind guess); NaN where missing.

    A row's probability is a softmax over the candidates that exist, mixed with a blind guess of weight
    `outlier`, so a constant added to a row changes nothing, a flat row is 0 throughout, and one wrong
    window can cost the truth no more than log(1 / outlier). Rows with fewer than two candidates are NaN.
    """
    x = np.asarray(logits, np.float64) / temperature
    exists = np.isfinite(x)
    count = exists.sum(axis=1, keepdims=True)
    x = np.where(exists, x, -np.inf)
    top = np.where(count > 0, x.max(axis=1, keepdims=True, initial=-np.inf), 0.0)
    likely = np.exp(x - top)
    share = likely / np.maximum(likely.sum(axis=1, keepdims=True), 1e-300)
    ratio = np.maximum((1 - outlier) * count * share + outlier, 1e-300)
    return np.where(exists & (count > 1), np.log(ratio), np.nan)


def reliability_table(
    probabilities: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10
) -> list[tuple[float, float, int]]:
    """Rows (mean probability, share correct, count), one for each tenth of the probability that occurs."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(correct, np.float64)
    which = np.minimum((p * bins).astype(int), bins - 1)
    return [
        (float(p[m].mean()), float(y[m].mean()), int(m.sum())) for b in range(bins) if (m := which == b).any()
    ]


def expected_calibration_error(probabilities: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10) -> float:
    """Mean distance between the probability and the share correct over the bins, weighted by their size."""
    table = reliability_table(probabilities, correct, bins)
    total = sum(n for _, _, n in table)
    return sum(n * abs(p - y) for p, y, n in table) / total


def calibration_error_by_chance(
    probabilities: npt.ArrayLike, draws: int = 400, quantile: float = 0.95, seed: int = 0
) -> float:
    """The calibration error that so many answers stay below in 95 % of draws when their probabilities are
    exactly right: with few answers most of an error is chance."""
    p = np.asarray(probabilities, np.float64)
    rng = np.random.default_rng(seed)
    errors = [expected_calibration_error(p, rng.random(len(p)) < p) for _ in range(draws)]
    return float(np.quantile(errors, quantile))
