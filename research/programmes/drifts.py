"""Drifts of different sizes in talking scenes of one and of five minutes, and in single shots: which are
found, and does the interval or the bound of each report hold the true one?

    python research/programmes/drifts.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json

Prints a row for each length and size of drift. A reported drift is near when it is right within 30 % or 8 ms
a minute. --seconds, --sizes, --number and --seed study something else, --jitter with face boxes that are off.
"""

from __future__ import annotations

from collections.abc import Sequence

import given
import numpy as np

from avsync.bench.programme_clips import Material
from avsync.bench.programme_outcomes import judged
from avsync.bench.programmes import BASE_MS, Scene, Script, Sort, composed, make_scenes
from avsync.core.constants import FRAME_S
from avsync.core.report import Report
from avsync.estimate.calibration import Calibration

TALKING: dict[Sort, float] = {"talk": 0.85, "two": 0.15}
STUDIED = {60.0: ((0, 20, 40, 60, 90), 16), 300.0: ((0, 10, 20, 30), 6), 0.0: ((0, 240), 0)}
"""Seconds, 0 for single shots -> sizes of the drift in ms a minute, and how many programmes of each."""
SINGLE_SHOT_S = 10.0
FIRST_SEED = 70000


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument(
        "--seconds", type=float, help="length of the programmes; 0: each clip as a single shot"
    )
    parser.add_argument("--sizes", type=float, nargs="+", help="of the drifts, in ms a minute")
    parser.add_argument("--number", type=int, default=16, help="programmes of each size")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--jitter", type=float, default=0.0, help="pixels by which face boxes are off")
    options = parser.parse_args()
    clips, calibration = given.material(options, options.jitter)
    studied = STUDIED if options.seconds is None else {options.seconds: (options.sizes, options.number)}
    print("seconds  drift  of  found  near  held by the interval  held by the bound  median bound")
    for seconds, (sizes, number) in studied.items():
        for size in sizes:
            slopes, scripts = made(clips, seconds, size, number, options.seed)
            show(f"{seconds:7g}" if seconds else "   shot", size, slopes, judge(clips, scripts, calibration))


def made(
    clips: Sequence[Material], seconds: float, size: float, number: int, seed: int
) -> tuple[list[float], list[Script]]:
    """Drifts of a size, up and down in turn, and programmes that have them: `number` of `seconds`, or, for 0,
    each clip that is long enough as a single shot."""
    shots = [clip for clip in clips if len(clip.frames) * FRAME_S >= SINGLE_SHOT_S]
    slopes = [size * (1 if k % 2 else -1) for k in range(number if seconds else len(shots))]
    if seconds:
        return slopes, [scenes_that_drift(clips, seed + k, seconds, slope) for k, slope in enumerate(slopes)]
    return slopes, [drifting([whole(clip)], slope) for clip, slope in zip(shots, slopes, strict=True)]


def scenes_that_drift(clips: Sequence[Material], seed: int, seconds: float, slope: float) -> Script:
    """Scenes of `seconds` and a little more, whose offset changes by `slope` ms a minute."""
    rng = np.random.default_rng(seed)
    scenes = make_scenes(clips, rng, (seconds, seconds + 0.1), TALKING)
    return drifting(scenes, slope, float(rng.uniform(-BASE_MS, BASE_MS)))


def drifting(scenes: Sequence[Scene], slope: float, base_ms: float = 0.0) -> Script:
    """The scenes with an error of `base_ms` in their middle, which grows by `slope` ms a minute."""
    frames = scenes[-1].end
    error = base_ms + slope * (np.arange(frames) - frames / 2) * FRAME_S / 60
    return Script("drift" if slope else "clean", tuple(scenes), (), error, slope)


def whole(clip: Material) -> Scene:
    """One scene of all of a clip."""
    return Scene(0, len(clip.frames), (clip, 0), None, clip, float(clip.frames[0]) * FRAME_S)


def judge(clips: Sequence[Material], scripts: Sequence[Script], calibration: Calibration) -> list[Report]:
    return [judged(composed(clips, one, FIRST_SEED + k), calibration) for k, one in enumerate(scripts)]


def show(length: str, size: float, slopes: Sequence[float], reports: Sequence[Report]) -> None:
    """Print one row."""
    pairs = list(zip(slopes, reports, strict=True))
    told = [
        (slope, one.drift_ms_per_min, one.drift_uncertainty_ms_per_min or 0.0)
        for slope, one in pairs
        if one.drift_ms_per_min
    ]
    near = sum(abs(said - true) <= max(0.3 * abs(true), 8) for true, said, _ in told)
    inside = sum(abs(said - true) <= error for true, said, error in told)
    bounds = [
        (slope, one.drift_possible_ms_per_min)
        for slope, one in pairs
        if not one.drift_ms_per_min and one.drift_possible_ms_per_min is not None
    ]
    held = sum(abs(true) <= bound for true, bound in bounds)
    middle = f"{np.median([bound for _, bound in bounds]):.0f}" if bounds else "-"
    print(
        f"{length}  {size:5g}  {len(pairs):2}  {len(told):5}  {near:4}  {inside} of {len(told)}  "
        f"{held} of {len(bounds)}  {middle}",
        flush=True,
    )


if __name__ == "__main__":
    main()
