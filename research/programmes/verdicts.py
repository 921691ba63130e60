"""How often is a verdict right, by its probability? Short programmes with errors around the limits.

    python research/programmes/verdicts.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json --count 600 --draw docs/verdict-probability.png

Prints a reliability table of `verdict_probability` for all programmes and for those of either half of the
speakers. "In sync" is right where less than LEAST_S of speech is out of tolerance or
another's; "out of sync" where NOTICED_S are; "mismatch" where most is another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import given
import numpy as np
from matplotlib.figure import Figure

from avsync.bench.programme_clips import Material
from avsync.bench.programme_outcomes import judged, limited
from avsync.bench.programmes import (
    BASE_MS,
    LEAST_S,
    TOLERANCE_MS,
    Programme,
    Scene,
    Script,
    composed,
    make_scenes,
)
from avsync.core.constants import FRAME_S, MIN_JUDGED
from avsync.core.report import Report
from avsync.core.tolerance import excess
from avsync.estimate.calibration import Calibration, expected_calibration_error, reliability_table

KINDS = {"offset": 0.5, "clean": 0.15, "scene": 0.22, "dubbed": 0.13}
LENGTH_S = 4.0, 120.0
OFFSETS_MS = -110.0, 90.0
SIZES_MS = 25.0, 150.0
NOTICED_S = 0.5
FIRST_SEED = 30000
Row = tuple[float, float, bool]
"""Probability of the verdict, that of the offset, and whether the verdict is right."""


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--draw", type=Path, help="write the reliability diagram here")
    options = parser.parse_args()
    clips, calibration = given.material(options)
    speakers = sorted({clip.speaker for clip in clips})
    halves = [[clip for clip in clips if speakers.index(clip.speaker) % 2 == half] for half in (0, 1)]
    rows: list[Row] = []
    for half, some in enumerate(halves):
        own = [
            row
            for seed in range(FIRST_SEED + half, FIRST_SEED + options.count, 2)
            if (row := one(some, seed, calibration))
        ]
        show(f"speakers {half + 1} of 2", own)
        rows += own
    show("all", rows)
    if options.draw:
        draw(rows, options.draw)


def one(clips: Sequence[Material], seed: int, calibration: Calibration) -> Row | None:
    """A programme's row; None where the verdict leaves the question open."""
    written = near_the_limits(clips, seed)
    programme = composed(clips, written, seed)
    report = judged(programme, calibration)
    seen_s = report.speech_seen_s or 0.0
    verdict = limited(report.verdict, (report.speech_judged_s or 0.0) / max(seen_s, FRAME_S), MIN_JUDGED)
    said = report.verdict_probability
    right = is_right(replace(report, verdict=verdict), written, programme)
    return None if right is None or said is None else (said, report.probability, right)


def near_the_limits(clips: Sequence[Material], seed: int) -> Script:
    """Scenes of a few seconds up to two minutes with one error, which may be within tolerance."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    length_s = float(np.exp(rng.uniform(*np.log(LENGTH_S))))
    scenes: list[Scene] = []
    while not any(scene.talks for scene in scenes):
        scenes = [s for s in make_scenes(clips, rng, (10.0, 150.0)) if s.begin * FRAME_S < length_s]
    talking = [i for i, scene in enumerate(scenes) if scene.talks]
    chosen = int(rng.choice(talking))
    error = np.full(scenes[-1].end, float(rng.uniform(-BASE_MS, BASE_MS)))
    if kind == "offset":
        error[:] = rng.uniform(*OFFSETS_MS)
    elif kind == "scene":
        error[scenes[chosen].begin : scenes[chosen].end] = rng.uniform(*SIZES_MS) * rng.choice([-1, 1])
    elif kind == "dubbed":
        other = [clip for clip in clips if clip.speaker != scenes[chosen].voice.speaker]
        voice = other[int(rng.integers(len(other)))]
        voice_s = float(voice.audio_s[0]) + voice.delay_ms / 1000
        scenes[chosen] = replace(scenes[chosen], voice=voice, voice_s=voice_s)
    return Script("scene", tuple(scenes), (chosen,) if kind == "dubbed" else (), error)


def is_right(report: Report, written: Script, programme: Programme) -> bool | None:
    """Whether the verdict is right; None where it leaves the question open."""
    foreign = np.zeros(len(programme.error_ms), bool)
    for i in written.dubbed:
        foreign[written.scenes[i].begin : written.scenes[i].end] = True
    out = np.array([excess(float(error), TOLERANCE_MS) > 1 for error in programme.error_ms])
    talk_s, out_s, foreign_s = (
        float((mask & programme.talking).sum()) * FRAME_S
        for mask in (~np.zeros_like(out), out & ~foreign, foreign)
    )
    right = {
        "in-sync": max(out_s, foreign_s) < LEAST_S,
        "out-of-sync": max(out_s, foreign_s) >= NOTICED_S,
        "mismatch": foreign_s >= 0.4 * talk_s,
    }
    return right.get(report.verdict)


def show(name: str, rows: Sequence[Row]) -> None:
    """Print the table of some programmes."""
    verdict, offset, right = (np.array(column, float) for column in zip(*rows, strict=True))
    errors = [expected_calibration_error(said, right) for said in (verdict, offset)]
    print(f"{name}: {len(rows)} verdicts, {right.mean():.1%} right; calibration error {errors[0]:.3f}")
    print(f"  (of the probability of the offset, if it were taken for that of the verdict: {errors[1]:.3f})")
    for said, share, count in reliability_table(verdict, right):
        print(f"  said {said:.2f}  right {share:.2f}  of {count}", flush=True)


def draw(rows: Sequence[Row], path: Path) -> None:
    """The reliability diagram with 95 % intervals (Wilson)."""
    verdict, _, right = (np.array(column, float) for column in zip(*rows, strict=True))
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for said, share, count in reliability_table(verdict, right):
        centre = (share + 1.92 / count) / (1 + 3.84 / count)
        half = 1.96 * math.sqrt(share * (1 - share) / count + 0.96 / count**2) / (1 + 3.84 / count)
        axes.plot([said, said], [centre - half, centre + half], color="tab:blue", linewidth=1)
        axes.plot([said], [share], "o", color="tab:blue")
        axes.annotate(str(count), (said, share), (5, -9), textcoords="offset points", fontsize=8)
    axes.set(
        xlabel="probability that is said",
        ylabel="share of the verdicts that are right",
        xlim=(0.4, 1),
        ylim=(0.3, 1.02),
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
