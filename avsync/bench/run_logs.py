"""Read the log of a distillation run: distilled layers, best validation figure, shares of the losses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avsync.core.errors import UsageError
from avsync.distill.losses import LAYERS
from avsync.distill.monitor import METRICS, read_metrics

MAP_TASK = re.compile(r"(fusion|av|va)(\d)_(cad|vr)")
MEASURES = ("f1", "within_1")
"""Validation figures in order of preference."""


def read_run(path: Path) -> dict[str, Any]:
    """A run, by its folder or metrics.jsonl, as plain values: `layers` and `terms` in words, `measure` and
    its `best` value in validation, `loss_ratio` with the `steps` and each group of tasks' share (0..1) of the
    weighted loss.

    Raises UsageError if there is no log, or it is empty.
    """
    folder = path.parent if path.name == METRICS else path
    records = read_metrics(folder)
    train = [r for r in records if r["kind"] == "train"]
    validation = [r for r in records if r["kind"] == "validation"]
    if not train:
        raise UsageError(
            f"{folder} holds no log of a run ({METRICS}); give a folder that avsync distill made."
        )
    measure = next((m for m in MEASURES if any(m in r for r in validation)), None)
    tasks = list(train[-1]["losses"])
    ratios = [loss_shares(r["losses"], r.get("factors") or {}) for r in train]
    return {
        "run": folder.resolve().name,
        "layers": selection(tasks),
        "measure": measure,
        "best": max((r[measure] for r in validation if measure in r), default=None) if measure else None,
        "loss_ratio": {
            "steps": [r["step"] for r in train],
            "groups": {g: [ratio.get(g, 0.0) for ratio in ratios] for g in ratios[-1]},
        },
    }


def read_runs(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """`read_run` of each; raises UsageError also if two have the same name, since figures are named after
    it."""
    runs = [read_run(path) for path in paths]
    names = [run["run"] for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"Two runs are called {min(twice)}; rename a folder, since the figures go by it.")
    return runs


def selection(tasks: Iterable[str]) -> str:
    """Names of tasks -> the layers whose maps are distilled: "fusion 1-4", "av 1, fusion 4 (CAD)"."""
    found = [match.groups() for task in tasks if (match := MAP_TASK.fullmatch(task))]
    if not found:
        return "none"
    terms = {term for *_, term in found}
    only = f" ({terms.pop().upper()})" if len(terms) == 1 else ""
    if len({(encoder, number) for encoder, number, _ in found}) == len(LAYERS):
        return f"all{only}"
    encoders = dict.fromkeys(encoder for encoder, *_ in found)
    parts = [f"{e} {_numbers({int(n) for x, n, _ in found if x == e})}" for e in encoders]
    return ", ".join(parts) + only


def _numbers(layers: set[int]) -> str:
    first, last = min(layers), max(layers)
    if len(layers) > 1 and layers == set(range(first, last + 1)):
        return f"{first}-{last}"
    return "+".join(map(str, sorted(layers)))


def loss_shares(losses: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    """Share of each group of tasks in the weighted loss; the maps of an encoder form one group per term."""
    parts: dict[str, float] = {}
    for task, loss in losses.items():
        match = MAP_TASK.fullmatch(task)
        group = f"{match[1]} {match[3].upper()}" if match else task
        shared = task.rsplit("_", 1)[0] if match else task
        parts[group] = parts.get(group, 0.0) + factors.get(task, factors.get(shared, 1.0)) * loss
    total = sum(abs(part) for part in parts.values()) or 1.0
    return {group: part / total for group, part in parts.items()}
