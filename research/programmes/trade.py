"""What must turn a verdict from "in sync" to "partly judged"? Rates of false "in sync", and of clean
programmes called in sync, for speech that does not support the offset of the file, by its length and by
whether it points elsewhere.

    python research/programmes/trade.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json --seed 22000 --count 300 --draw docs/verdict-trade.png
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import given
from matplotlib.figure import Figure

from avsync.bench.programme_outcomes import judged
from avsync.bench.programmes import compose
from avsync.core.constants import MIN_JUDGED
from avsync.estimate import verdict
from avsync.estimate.support import DOUBT_TALK_S, Contradiction

LENGTHS_S = (0.0, 1.5, 1.8, 1.9, 2.0, 2.2, 2.5, 3.0, 4.0, 6.0)


@dataclass(frozen=True)
class Judged:
    """What `verdict.judge` was given for a programme, and what the programme is."""

    clean: bool
    defective: bool
    given: tuple[tuple[Any, ...], dict[str, Any]]


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument("--seed", type=int, default=21000)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--draw", type=Path)
    options = parser.parse_args()
    clips, calibration = given.material(options)
    cases = []
    for seed in range(options.seed, options.seed + options.count):
        made = compose(clips, seed)
        with patch.object(verdict, "judge", wraps=verdict.judge) as judge:
            judged(made, calibration)
        cases.append(Judged(made.kind == "clean", made.defective, tuple(judge.call_args)))  # type: ignore[arg-type]
    show(cases, options.draw)


def show(cases: Sequence[Judged], draw: Path | None) -> None:
    """Print, and draw, the rates for each rule."""
    print(f"{sum(c.defective for c in cases)} defective, {sum(c.clean for c in cases)} clean")
    curves = {}
    for pointing in (True, False):
        told = "that points elsewhere" if pointing else "of any kind"
        curves[told] = [rates(cases, length_s, pointing) for length_s in LENGTHS_S]
        for length_s, (false, clean) in zip(LENGTHS_S, curves[told], strict=True):
            print(f"{length_s:g} s {told}: false in sync {false:.1%}, clean in sync {clean:.1%}", flush=True)
    if draw:
        drawn(curves, draw)


def rates(cases: Sequence[Judged], length_s: float, pointing: bool) -> tuple[float, float]:
    """(false "in sync", clean ones in sync) if speech of `length_s` that does not support the offset, with
    `pointing` only that which points elsewhere, makes a verdict "partly judged"."""

    def answer(case: Judged) -> bool:
        arguments, named = case.given
        foreign = [ruled(each, length_s, pointing) for each in named["foreign"]]
        named = {**named, "foreign": foreign, "min_judged": MIN_JUDGED}
        return verdict.judge(*arguments, **named).verdict == "in-sync"

    bad, clean = (
        [answer(c) for c in cases if chosen(c)] for chosen in (lambda c: c.defective, lambda c: c.clean)
    )
    return sum(bad) / max(len(bad), 1), sum(clean) / max(len(clean), 1)


def ruled(each: Contradiction, length_s: float, pointing: bool) -> Contradiction:
    """A stretch that counts as a doubt exactly if the rule says so."""
    doubt = each.talk_s >= length_s and (each.against or not pointing)
    return replace(each, against=doubt, talk_s=max(each.talk_s, DOUBT_TALK_S) if doubt else each.talk_s)


def drawn(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """The rates by length as a drawing."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for told, rows in curves.items():
        (line,) = axes.plot(LENGTHS_S, [100 * clean for _, clean in rows], label=f"clean in sync, {told}")
        axes.plot(
            LENGTHS_S,
            [100 * false for false, _ in rows],
            "--",
            color=line.get_color(),
            label=f"false in sync, {told}",
        )
    axes.set(xlabel="seconds of speech that does not support the offset", ylabel="%")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
