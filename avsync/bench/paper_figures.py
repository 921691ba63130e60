"""The figures of MTDVocaLiST's paper for networks trained here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from avsync.core.files import write_whole
from avsync.evaluation.protocol import FRAMES_K

LOSSES = {"loss_mtd": "MTD", "loss_last_mtd": "Last-MTD", "loss_fitnets": "FitNets"}


def size_and_accuracy(rows: Sequence[Mapping[str, Any]], path: Path, what: str) -> None:
    """Fig. 2: accuracy against parameters, a panel for each input length. `what` (in all figures) says in the
    title what was measured."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for panel, k in zip(panels, FRAMES_K, strict=True):
        for row in rows:
            point = row["parameters"] / 1e6, row["accuracy"][str(k)]
            panel.plot(*point, "o", ms=4)
            panel.annotate(row["name"], point, fontsize=6, xytext=(3, 2), textcoords="offset points")
        panel.set(title=f"K = {k} frames")
        panel.margins(x=0.15)
        panel.grid(alpha=0.3)
    figure.suptitle(f"Fig. 2's networks trained anew: {what}", fontsize=10)
    figure.supxlabel("parameters, millions")
    figure.supylabel("windows within one frame, %")
    _save(figure, path)


def bars(rows: Sequence[tuple[str, Mapping[str, Any]]], path: Path, what: str) -> None:
    """Fig. 3: accuracy at K = 5 for each single distilled layer, and for all layers with every weighting."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    heights = [row["accuracy"][str(FRAMES_K[0])] for _, row in rows]
    axes.bar(range(len(rows)), heights, color="tab:blue")
    axes.set_xticks(range(len(rows)), [label for label, _ in rows], rotation=60, ha="right", fontsize=8)
    axes.set_title(f"Fig. 3's students trained anew: {what}", fontsize=10)
    axes.set_ylabel(f"windows within one frame at K = {FRAMES_K[0]}, %")
    axes.grid(axis="y", alpha=0.3)
    _save(figure, path)


def validation_losses(records: Sequence[Mapping[str, Any]], path: Path, what: str) -> None:
    """Fig. 4: validation losses during the training of MTD, each divided by its maximum."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    logged = [record for record in records if "loss_mtd" in record]
    for name, label in LOSSES.items():
        values = [record[name] for record in logged]
        most = max(values, default=1.0) or 1.0
        axes.plot([r["epoch"] + 1 for r in logged], [v / most for v in values], marker=".", label=label)
    axes.set_title(f"Fig. 4's losses measured anew: {what}", fontsize=10)
    axes.set(xlabel="epoch of MTD training", ylabel="validation loss, share of its maximum", ylim=(0, 1.05))
    axes.legend()
    axes.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=130)
    write_whole(path, image.getvalue(), what="the figure")
