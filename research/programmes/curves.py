"""Why are targets missed? Curves of local defects by what there was to go by.

    python research/programmes/curves.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json --seed 40000 --count 400 --draw docs/programmes.png

Composes and judges the programmes that have a local defect, and prints: found by seconds of speech; by
evidence in nats (how much likelier, by the windows in which its faces talk, its own offset is than that of
the rest; of a dub, how much less likely that is than a blind guess); how exactly each kind is located, and
whether the interval that is given for the place of a jump holds it; repairs of defects that were found and
that were not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import given
import numpy as np
from matplotlib.figure import Figure

from avsync.audio import vad
from avsync.bench.programme_outcomes import LEFT_S, LOCATED_S, NEAR_S, judged, outcome
from avsync.bench.programmes import CLEAR, TOLERANCE_MS, Defect, Programme, composed, script
from avsync.core.constants import FRAME_S, WINDOW_FRAMES
from avsync.core.report import Report
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import near
from avsync.estimate.speakers import summed
from avsync.faces import motion

LOCAL = ("scene", "scenes", "dubbed", "jump")
SPEECH_S = (0.5, 1, 2, 3, 4, 6, 10, math.inf)
NATS = (-math.inf, 0, 5, 10, 20, 40, math.inf)


@dataclass(frozen=True)
class Point:
    """One defect: its kind, seconds of speech, evidence, whether it was found, the error of its worse end,
    whether the repair left less than LEFT_S (None: nothing to repair); of a jump, by how much its place lies
    outside the interval that is given for it, and how wide that is, None if there is none."""

    kind: str
    speech_s: float
    nats: float
    found: bool
    told_s: float
    repaired: bool | None
    beyond_s: float | None
    width_s: float | None


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="seeds; some have no local defect")
    parser.add_argument("--draw", type=Path)
    options = parser.parse_args()
    clips, calibration = given.material(options)
    points: list[Point] = []
    for seed in range(options.seed, options.seed + options.count):
        written = script(clips, seed)
        if written.kind in LOCAL:
            points += judged_points(composed(clips, written, seed), calibration)
    show("seconds of speech", binned(points, "speech_s", SPEECH_S))
    show("evidence in nats", binned(points, "nats", NATS))
    for kind, errors in by_kind(points).items():
        within = [sum(e <= limit for e in errors) / len(errors) for limit in (0.1, 0.2, NEAR_S, 1.0)]
        print(
            f"{kind}: {len(errors)} located within 0.1, 0.2, 0.3, 1 s: "
            + ", ".join(f"{w:.0%}" for w in within)
        )
    told = [(p.beyond_s, p.width_s) for p in points if p.beyond_s is not None and p.width_s is not None]
    if told:
        held = sum(beyond <= WINDOW_FRAMES * FRAME_S / 2 for beyond, _ in told)
        print(f"jumps within their interval, to half a window: {held} of {len(told)}", end="; ")
        print(f"half of the intervals are shorter than {np.median([width for _, width in told]):.2f} s")
    for found in (True, False):
        tried = [p.repaired for p in points if p.found is found and p.repaired is not None]
        print(f"{'found' if found else 'not found'}: {sum(tried)} of {len(tried)} repaired")
    if options.draw:
        draw(points, options.draw)


def judged_points(programme: Programme, calibration: Calibration) -> list[Point]:
    """The defects of a programme that are large enough, whatever speech there is in them."""
    report = judged(programme, calibration)
    result = outcome(programme, report)
    rest_ms = (
        float(np.median(programme.error_ms)) if programme.kind != "jump" else float(programme.error_ms[0])
    )
    repair = result.repair
    repaired = None if programme.kind == "dubbed" else repair.after_s is not None and repair.after_s <= LEFT_S
    large = [
        each
        for each in result.defects
        if each.defect.offset_ms is None
        or max(each.defect.offset_ms / TOLERANCE_MS[0], -each.defect.offset_ms / TOLERANCE_MS[1]) >= CLEAR
    ]
    return [
        Point(
            str(programme.kind),
            each.defect.speech_s,
            evidence(programme, each.defect, rest_ms, calibration),
            each.found,
            each.told_s,
            repaired if each.defect.counts else None,
            *(place(report, each.defect.start_s) if programme.kind == "jump" else (None, None)),
        )
        for each in large
    ]


def evidence(programme: Programme, defect: Defect, rest_ms: float, calibration: Calibration) -> float:
    """Log-likelihood ratio, see above, of the face in each shot that speaks for the defect most."""
    by_shot: dict[int, float] = defaultdict(lambda: -math.inf)
    for scores, track in zip(programme.looked.scores, programme.looked.tracks, strict=True):
        moving = motion.moves(programme.looked.motion[scores.track], scores.times_s)
        spoken = vad.spoken(programme.speech, scores.times_s, WINDOW_FRAMES * FRAME_S)
        inside = (scores.times_s >= defect.start_s) & (scores.times_s < defect.end_s)
        windows = np.flatnonzero(moving & spoken & inside)
        if len(windows):
            total = summed(scores, windows, calibration)
            own = 0.0 if defect.offset_ms is None else near(total, scores.shifts, defect.offset_ms)
            by_shot[track.shot] = max(by_shot[track.shot], own - near(total, scores.shifts, rest_ms))
    return float(sum(by_shot.values()))


def place(report: Report, at_s: float) -> tuple[float | None, float | None]:
    """By how much a jump at `at_s` lies outside the interval of the nearest place of one, and its width."""
    told = [(f.start_s, f.start_between_s) for f in report.faults]
    told += [(f.end_s, f.end_between_s) for f in report.faults]
    known = [(edge_s, between) for edge_s, between in told if between]
    if not known:
        return None, None
    _, (early, late) = min(known, key=lambda each: abs(each[0] - at_s))
    return max(early - at_s, at_s - late, 0.0), late - early


Bin = tuple[float, float, int, float]


def binned(points: Sequence[Point], name: str, edges: Sequence[float]) -> list[Bin]:
    """(from, to, defects, share of them found)."""
    rows = []
    for low, high in pairwise(edges):
        inside = [p.found for p in points if low <= getattr(p, name) < high]
        if inside:
            rows.append((low, high, len(inside), sum(inside) / len(inside)))
    return rows


def by_kind(points: Sequence[Point]) -> dict[str, list[float]]:
    """Errors of location of the defects that must be located, and were found."""
    errors: dict[str, list[float]] = defaultdict(list)
    for point in points:
        if point.found and point.speech_s >= LOCATED_S:
            errors[point.kind].append(point.told_s)
    return errors


def show(name: str, rows: Sequence[Bin]) -> None:
    print(name)
    for low, high, count, share in rows:
        print(f"  {low:g} to {high:g}: {share:.0%} of {count} found")


def draw(points: Sequence[Point], path: Path) -> None:
    """Found by speech and by evidence, and how exactly those that were found are located."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    speech, nats, where = figure.subplots(1, 3)
    for axes, name, edges, label in (
        (speech, "speech_s", SPEECH_S, "seconds of speech in the defect"),
        (nats, "nats", NATS, "evidence, nats"),
    ):
        rows = binned(points, name, edges)
        axes.bar(range(len(rows)), [100 * row[3] for row in rows], color="tab:blue")
        for i, row in enumerate(rows):
            axes.annotate(str(row[2]), (i, 2), ha="center", color="white", fontsize=8)
        axes.set_xticks(range(len(rows)), [f"{low:g} to\n{high:g}" for low, high, *_ in rows], fontsize=7)
        axes.set(xlabel=label, ylabel="found, %", ylim=(0, 102))
    for kind, errors in by_kind(points).items():
        order = np.sort(np.array(errors))
        where.step(
            [0, *order, 3],
            100 * np.array([0, *(np.arange(len(order)) + 1) / len(order), 1]),
            label=kind,
            where="post",
        )
    where.axvline(NEAR_S, color="0.7", linewidth=1)
    where.set(xlabel="error of the worse end, s", ylabel="of those found, %", xlim=(0, 3), ylim=(40, 102))
    where.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
