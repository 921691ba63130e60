"""Plots of a run from its metrics: loss curves, and the weights of the tasks over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from avsync.core.files import write_whole

Records = Sequence[dict[str, Any]]
STYLES = ("-", "--", ":", "-.")
SHOWN = {
    "balanced_f1": "balanced F1",
    "f1": "F1 of in sync",
    "f1_authors": "F1 as the authors compute it",
    "within_1": "windows within one frame",
}
"""The validation figures to draw."""


ROUNDING = 0.01
"""A smaller share of the total is rounding of its means over steps, not a regulariser."""


def draw_curves(records: Records, path: Path) -> None:
    """PNG of the loss of every task, the regulariser of learned weights, the learning rate and the validation
    figures over the steps."""
    train, validation = (_of_kind(records, kind) for kind in ("train", "validation"))
    learned = any(r.get("factors") and _regulariser(r) > ROUNDING * r["loss"] for r in train)
    figure = Figure(figsize=(9, 10 if learned else 9), layout="constrained")
    heights = (3, 1, 1, 2) if learned else (3, 1, 2)
    upper, middle, *rest, lower = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    steps = [r["step"] for r in train]
    for number, name in enumerate(train[-1]["losses"] if train else ()):
        values = [r["losses"].get(name) for r in train]
        style = {"lw": 0.9, "ls": STYLES[number // 10 % 4], "color": f"C{number % 10}"}
        upper.plot(steps, values, label=name, **style)
    upper.set(ylabel="loss of each task")
    if train:
        figure.legend(*upper.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    middle.plot(steps, [r["loss"] for r in train], "k", lw=1.2)
    middle.set_ylabel("total")
    for panel in rest:
        panel.plot(steps, [_regulariser(r) for r in train], "tab:red", lw=1.2)
        panel.set_ylabel("regulariser")
    rate = middle.twinx()
    rate.plot(steps, [r["lr"] for r in train], ":", color="tab:gray")
    rate.set_ylabel("learning rate (dotted)")
    for name, label in SHOWN.items():
        points = [(r["step"], r[name]) for r in validation if name in r]
        if points:
            lower.plot(*zip(*points, strict=True), marker=".", label=label)
    lower.set(xlabel="step", ylabel="validation", ylim=(0, 1))
    if validation:
        lower.legend(loc="best", fontsize=7)
    _save(figure, path)


def _regulariser(record: dict[str, Any]) -> float:
    """The total minus the weighted losses: the sum of ln(1 + w^2) for learned weights, else 0."""
    weighted = (f * _grouped(record["losses"], name) for name, f in record["factors"].items())
    return record["loss"] - sum(weighted)


def draw_weights(records: Records, path: Path) -> None:
    """PNG of the factor of every task over the steps, and of its share of the total loss."""
    train = [r for r in _of_kind(records, "train") if r.get("factors")]
    figure = Figure(figsize=(9, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    steps = [r["step"] for r in train]
    names = list(train[-1]["factors"]) if train else []
    parts = {name: [r["factors"][name] * _grouped(r["losses"], name) for r in train] for name in names}
    totals = [max(1e-12, sum(abs(p[i]) for p in parts.values())) for i in range(len(train))]
    for number, name in enumerate(names):
        style = {"lw": 1.2, "ls": STYLES[number // 10 % 4], "color": f"C{number % 10}", "label": name}
        upper.plot(steps, [r["factors"][name] for r in train], **style)
        lower.plot(steps, [v / total for v, total in zip(parts[name], totals, strict=True)], **style)
    upper.set_ylabel("factor of the loss")
    lower.set(xlabel="step", ylabel="share of the weighted loss")
    if names:
        figure.legend(*upper.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    _save(figure, path)


def _grouped(losses: dict[str, float], name: str) -> float:
    """The loss that a factor multiplies: a task's, or CAD and VR of a layer together."""
    return losses[name] if name in losses else losses.get(f"{name}_cad", 0.0) + losses.get(f"{name}_vr", 0.0)


def _of_kind(records: Records, kind: str) -> list[dict[str, Any]]:
    return [r for r in records if r["kind"] == kind]


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130)
    write_whole(path, drawn.getvalue())
