"""Figures drawn from the JSON documents of `avsync bench`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from avsync.core.files import write_whole
from avsync.evaluation.protocol import FRAMES_K

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "0.6"
NEARBY = 1.5
"""Labels of points may overlap if their x values differ by a smaller factor."""
MS = 1000
IN_PAPER_SIZE = "5"
"""Input length in the figure of accuracy against size."""


def save_figures(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """A PNG in `folder` for each part of `result` that can be drawn; raises OutputError."""
    written = []
    for name, figure in figures_of(result).items():
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=130)
        written.append(write_whole(folder / f"{name}.png", image.getvalue(), what="the figure"))
    return written


def figures_of(result: Mapping[str, Any]) -> dict[str, Figure]:
    """File names without suffix -> figures."""
    found: dict[str, Figure] = {}
    if accuracy := result.get("accuracy"):
        found["accuracy-by-length"] = accuracy_by_length(accuracy)
        found["accuracy-by-size"] = accuracy_by_size(accuracy)
        if cost := {row["name"]: MS * row["real_time_factor"] for row in result.get("speed", ())}:
            found["accuracy-by-cost"] = accuracy_by_cost(accuracy, cost)
    if (videos := result.get("videos")) and videos["reliability"]["table"]:
        found["reliability"] = reliability(videos["reliability"])
    runs = result.get("runs", ())
    if validated := [run for run in runs if run["best"] is not None]:
        found["layers"] = layer_selection(validated)
    for run in runs:
        found[f"loss-ratio-{run['run']}"] = loss_ratio(run)
    return found


def _axes(title: str, x: str, y: str, size: tuple[float, float] = (8.5, 6.0)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _label(axes: Axes, points: Sequence[tuple[float, float, str]], side: str) -> None:
    """A grey name beside each point (x, y, name), moved down if it would cover another nearby."""
    low, high = axes.get_ylim()
    gap = (high - low) / 52
    placed: list[tuple[float, float]] = []
    for x, y, name in sorted(points, key=lambda point: -point[1]):
        above = [other_y for other_x, other_y in placed if NEARBY > other_x / x > 1 / NEARBY]
        placed.append((x, min([y, *(other_y - gap for other_y in above)])))
        axes.text(*placed[-1], name, color="0.4", fontsize=6, ha=side, va="center")


def accuracy_by_length(accuracy: Mapping[str, Any]) -> Figure:
    """Share of correct windows against the input length: measured with intervals, published in grey."""
    title = f"{Path(accuracy['data']).name}, {accuracy['split']}: {accuracy['clips']} clips"
    figure, axes = _axes(title, "input length, frames", "windows within one frame, %")
    styles = ("-", "--", ":", "-.")
    for number, row in enumerate(_published(accuracy)):
        lengths, values = zip(*row["accuracy"].items(), strict=True)
        style = {"color": GREY, "ls": styles[number % 4], "lw": 1, "marker": ".", "ms": 4}
        axes.plot([int(k) for k in lengths], values, **style)
    for row in accuracy["models"]:
        lengths, intervals = zip(*row["window_accuracy"].items(), strict=True)
        mean, low, high = zip(*intervals, strict=True)
        (line,) = axes.plot([int(k) for k in lengths], mean, marker="o", lw=2, label=row["name"])
        axes.fill_between([int(k) for k in lengths], low, high, color=line.get_color(), alpha=0.15, lw=0)
    axes.plot([], [], color=GREY, label="published, on other data")
    axes.set_xlim(left=1)
    axes.set_xticks(FRAMES_K)
    starts = [
        (FRAMES_K[0] - 0.2, row["accuracy"][str(FRAMES_K[0])], row["name"]) for row in _published(accuracy)
    ]
    _label(axes, starts, "right")
    axes.legend(loc="lower right")
    return figure


def _published(accuracy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The published rows without missing values."""
    rows = []
    for row in accuracy["published"]:
        known = {k: v for k, v in row["accuracy"].items() if v is not None}
        rows += [{**row, "accuracy": known}] if known else []
    return rows


def accuracy_by_size(accuracy: Mapping[str, Any]) -> Figure:
    """Accuracy at five input frames against millions of parameters, as in the paper's second figure."""
    title = f"{Path(accuracy['data']).name}, {accuracy['split']}: input of {IN_PAPER_SIZE} frames"
    figure, axes = _axes(title, "parameters, millions", "windows within one frame, %")
    axes.set_xscale("log")
    points = [
        (row["parameters_m"], row["accuracy"][IN_PAPER_SIZE], row["name"])
        for row in _published(accuracy)
        if row["parameters_m"] is not None
    ]
    sizes, values, _ = zip(*points, strict=True)
    axes.scatter(sizes, values, facecolor="none", edgecolor=GREY, label="published, on other data")
    for row in accuracy["models"]:
        mean, low, high = row["window_accuracy"][IN_PAPER_SIZE]
        size = row["parameters"] / 1e6
        axes.errorbar(size, mean, [[mean - low], [high - mean]], fmt="o", capsize=3, label=row["name"])
    ends = [1.0, 200.0, *(row["parameters"] / 2e6 for row in accuracy["models"])]
    axes.set_xlim(min(ends), max(ends))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    _label(axes, [(1.06 * size, value, name) for size, value, name in points], "left")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def accuracy_by_cost(accuracy: Mapping[str, Any], cost_ms: Mapping[str, float]) -> Figure:
    """Accuracy at five input frames against ms of work per second of one face."""
    title = f"{Path(accuracy['data']).name}, {accuracy['split']}: input of {IN_PAPER_SIZE} frames"
    figure, axes = _axes(title, "ms of work per second of one face", "windows within one frame, %")
    axes.set_xscale("log")
    for row in accuracy["models"]:
        mean, low, high = row["window_accuracy"][IN_PAPER_SIZE]
        at = cost_ms[row["name"]]
        axes.errorbar(at, mean, [[mean - low], [high - mean]], fmt="o", capsize=3, label=row["name"])
    costs = [cost_ms[row["name"]] for row in accuracy["models"]]
    axes.set_xlim(min(costs) / 2, 2 * max(costs))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.legend(loc="best", fontsize=8)
    return figure


def reliability(found: Mapping[str, Any]) -> Figure:
    """Share of correct answers against the probability; the numbers are counts of copies."""
    figure, axes = _axes("Is the probability calibrated?", "probability", "share within 40 ms", (5.5, 5.5))
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="perfect calibration")
    said, right, copies = zip(*found["table"], strict=True)
    axes.plot(said, right, marker="o", label="measured")
    for point in zip(said, right, copies, strict=True):
        axes.annotate(str(point[2]), point[:2], (5, -10), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.legend(loc="upper left", title=f"calibration error {found['expected_calibration_error']:.3f}")
    return figure


def layer_selection(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """A bar for each run: the best validation figure by distilled layers, as in the paper's third figure."""
    measure = {"f1": "validation F1", "within_1": "validation windows within one frame"}
    named = " / ".join(dict.fromkeys(measure[run["measure"]] for run in runs))
    figure, axes = _axes("Distilled layers", "", named, (max(5.0, 1.2 * len(runs)), 4.5))
    labels = [f"{run['layers']}\n{run['run']}" for run in runs]
    bars = axes.bar(range(len(runs)), [run["best"] for run in runs], width=0.6)
    axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set_xticks(range(len(runs)), labels, fontsize=7, rotation=20)
    return figure


def loss_ratio(run: Mapping[str, Any]) -> Figure:
    """Share of each group of losses over the steps, as in the paper's fourth figure."""
    title = f"{run['run']}: distilled layers {run['layers']}"
    figure, axes = _axes(title, "step", "share of the weighted loss")
    for group, shares in run["loss_ratio"]["groups"].items():
        axes.plot(run["loss_ratio"]["steps"], shares, label=group)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend(loc="best", fontsize=8)
    return figure
