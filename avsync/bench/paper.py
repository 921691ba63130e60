"""MTDVocaLiST's experiments: trains what each table and figure of the paper needs, once, and tabulates it
beside the published numbers.

Every network is a run of its own in `runs/`, shared by all parts that show it, so an experiment that was
stopped goes on where it was, and another part adds only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsync.bench import paper_figures, published
from avsync.bench.compare import RESULT, clips_of, evaluate
from avsync.core.errors import UsageError
from avsync.core.files import write_whole
from avsync.data.shards import Store
from avsync.distill.checkpoint import LAST
from avsync.distill.losses import LAYERS
from avsync.distill.monitor import read_metrics
from avsync.distill.run import default_cache, start
from avsync.evaluation.protocol import FRAMES_K
from avsync.networks.checkpoint import read_card

Row = dict[str, Any]
TEACHER = "vocalist"
PARTS = ("table1", "table2", "fig2", "fig3", "fig4")


@dataclass(frozen=True)
class Scale:
    """How large an experiment is: dims by architecture (empty: the paper's), settings of every run, and how
    many test clips are evaluated (0: all)."""

    dims: Mapping[str, Any]
    settings: Mapping[str, Any]
    limit: int = 0


SCALES: dict[str, Scale] = {
    "paper": Scale({}, {}),
    "tiny": Scale(
        {
            "mtdvocalist": {"channels": [4, 4, 8, 8, 16], "d_model": 16, "heads": 4, "layers": 4},
            "vocalist": {"channels": [4, 8, 8, 16, 32], "d_model": 32, "heads": 4, "layers": 4},
            "syncnet": {"family": "syncnet"},
            "perfect-match": {"family": "perfect-match"},
            "avst": {"family": "avst", "channels": [4, 8, 8, 16, 32], "heads": 4, "layers": 2},
        },
        {
            "batch": 16, "samples_per_epoch": 320, "epochs": 2, "lr": 1e-3, "warmup_epochs": 0,
            "schedule": "cosine", "clip_norm": 2.0, "validation_draws": 2, "validation_clips": 4,
            "preprocessing": {"channels": "rgb", "scale": 1 / 255}, "log_steps": 5,
        },
        limit=12,
    ),
}  # fmt: skip
"""Sizes by name; "tiny" proves on two cores that everything works, and measures nothing else."""

STUDENTS: dict[str, dict[str, Any]] = {
    "bce": {"method": "bce"},
    "kd": {"method": "kd"},
    "rkd": {"method": "rkd"},
    "minilm": {"method": "minilm"},
    "fitnets": {"method": "fitnets"},
    "mtd": {"method": "mtd", "weighting": "uw25", "validation_losses": True},
    "nmtd": {"method": "nmtd"},
    "nmtd-without-vr": {"method": "nmtd", "terms": "cad"},
    "nmtd-without-cad": {"method": "nmtd", "terms": "vr"},
    **{f"layer-{layer}": {"method": "nmtd", "layers": layer} for layer in LAYERS},
    **{f"mtd-{kind}": {"method": "mtd", "weighting": kind} for kind in ("aw13", "aw25", "uw13")},
}
"""Students by run, with the settings that tell them apart."""
OTHERS: dict[str, dict[str, Any]] = {
    name: {"method": "bce", "student": name} for name in ("syncnet", "perfect-match", "avst")
}
"""Networks that the paper compares with, trained as theirs do."""
TABLE1 = {
    "bce": "student, BCE", "kd": "student, KD", "rkd": "student, RKD", "minilm": "student, MiniLM*",
    "fitnets": "student, FitNets", "mtd": "MTDVocaLiST",
}  # fmt: skip
"""Runs of Table 1 -> the published rows beside them."""
TABLE2 = {"nmtd-without-vr": "without VR", "nmtd-without-cad": "without CAD", "nmtd": "CAD and VR"}
FIG2 = {TEACHER: "VocaLiST", "syncnet": "SyncNet", "perfect-match": "Perfect Match", "avst": "AVST", **TABLE1}
FIG3 = {
    "bce": "BCE", **{f"layer-{layer}": layer for layer in LAYERS}, "nmtd": "uniform", "mtd-aw13": "AW-13",
    "mtd-aw25": "AW-25", "mtd-uw13": "UW-13", "mtd": "UW-25",
}  # fmt: skip
"""The 18 bars: no distillation, one layer each, and all layers by every weighting."""
NEEDED = {
    "table1": (TEACHER, *TABLE1), "table2": tuple(TABLE2), "fig2": tuple(FIG2), "fig3": tuple(FIG3),
    "fig4": ("mtd",),
}  # fmt: skip
"""Runs that each part shows."""


def reproduce(
    data: Path,
    out: Path,
    *,
    only: Sequence[str] = (),
    scale: str = "paper",
    preset: str = "paper",
    teacher: str | None = None,
    seed: int = 0,
    split: str = "test",
    cache: Path | None = None,
    workers: int = 0,
    device: str = "auto",
    quiet: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Train, evaluate and draw the parts in `only` (empty: all) into `out`; the tables as Markdown, by part.

    `teacher`: name or path of the checkpoint that teaches; None trains one of the teacher's shape first.
    `tell` is called with the name of each run before it starts.

    Raises UsageError for an unknown part or scale, and whatever training raises.
    """
    if unknown := [part for part in only if part not in PARTS]:
        raise UsageError(f"There is no part {unknown[0]!r} of the paper; choose from {', '.join(PARTS)}.")
    if scale not in SCALES:
        raise UsageError(f"There is no scale {scale!r}; choose from {', '.join(SCALES)}.")
    parts = [part for part in PARTS if not only or part in only]
    cache = cache or default_cache(data)
    options: dict[str, Any] = {"data": data, "cache": cache, "workers": workers, "device": device}
    options["quiet"] = quiet
    start({}, prepare_only=True, **options)
    experiment = _Experiment(out / "runs", SCALES[scale], preset, teacher, seed, options, tell)
    store = clips_of(cache, split, SCALES[scale].limit)
    rows = {name: experiment.row(name, store) for part in parts for name in NEEDED[part]}
    tables = {part: _part(part, rows, out, experiment.folder("mtd")) for part in parts}
    for part, text in tables.items():
        write_whole(out / f"{part}.md", text.encode(), what="the table")
    write_whole(out / "results.json", json.dumps(list(rows.values()), indent=1).encode(), what="the results")
    return tables


@dataclass
class _Experiment:
    """Trains runs when they are first asked for."""

    root: Path
    scale: Scale
    preset: str
    teacher: str | None
    seed: int
    options: Mapping[str, Any]
    tell: Callable[[str], None]

    def folder(self, name: str) -> Path:
        return self.root / name

    def row(self, name: str, store: Store) -> Row:
        """Figures of a run, trained as far as that is still to do."""
        if name == TEACHER and self.teacher:
            return evaluate(name, self.teacher, store, self.folder(name), self.options["device"])
        best = self.trained(name)
        row = evaluate(name, best, store, self.folder(name), self.options["device"])
        return {**row, "f1_authors": (read_card(best).get("validation") or {}).get("f1_authors")}

    def trained(self, name: str) -> Path:
        """The best checkpoint of a run."""
        folder = self.folder(name)
        best = folder / "best.safetensors"
        if (folder / RESULT).is_file():
            return best
        self.tell(name)
        if (folder / LAST).is_file():
            start({}, resume=folder, **self.options)
            return best
        settings = self._settings(name)
        taught = settings["method"] != "bce"
        teacher = (self.teacher or str(self.trained(TEACHER))) if taught else None
        start(settings, run=folder, teacher=teacher, **self.options)
        return best

    def _settings(self, name: str) -> dict[str, Any]:
        common = {"preset": self.preset, **self.scale.settings, "seed": self.seed}
        if name == TEACHER:
            own = {"method": "bce", "student": TEACHER}
        else:
            own = OTHERS.get(name) or {"student": "mtdvocalist", **STUDENTS[name]}
        settings = {**common, **own}
        if settings["student"] == "perfect-match":
            settings |= {"objective": "match", "select": "within_1"}
        settings["student"] = self.scale.dims.get(settings["student"], settings["student"])
        return settings


def _part(part: str, rows: Mapping[str, Row], out: Path, mtd: Path) -> str:
    """The table of a part, its figure drawn into `out` where it has one."""
    match part:
        case "table1":
            return _accuracy_table(rows, {TEACHER: "VocaLiST", **TABLE1})
        case "table2":
            return _f1_table(rows)
        case "fig2":
            paper_figures.size_and_accuracy([rows[name] for name in FIG2], out / "fig2.png")
            return _accuracy_table(rows, FIG2)
        case "fig3":
            paper_figures.bars([(label, rows[name]) for name, label in FIG3.items()], out / "fig3.png")
            return _bars_table(rows)
    records = [r for r in read_metrics(mtd) if r["kind"] == "validation"]
    paper_figures.validation_losses(records, out / "fig4.png")
    return _losses_table(records)


def _accuracy_table(rows: Mapping[str, Row], shown: Mapping[str, str]) -> str:
    """Accuracy in percent by input length, measured here and, below each row, as published."""
    printed = {row.name: row for row in published.ROWS}
    table = []
    for name, label in shown.items():
        own, theirs = rows[name], printed[label].accuracy
        table.append(
            [label, f"{own['parameters'] / 1e6:.1f} M", *(f"{own['accuracy'][str(k)]:.2f}" for k in FRAMES_K)]
        )
        table.append(["published", f"{printed[label].parameters_m} M", *(f"{value:.2f}" for value in theirs)])
    return _markdown(["network", "parameters", *(f"K={k}" for k in FRAMES_K)], table)


def _f1_table(rows: Mapping[str, Row]) -> str:
    table = [
        [label, _percent(rows[name]["f1_authors"]), _percent(rows[name]["f1"])]
        for name, label in TABLE2.items()
    ]
    return _markdown(["NMTD", "validation F1 as the authors compute it, %", "validation F1, %"], table)


def _bars_table(rows: Mapping[str, Row]) -> str:
    table = [
        [label, f"{rows[name]['accuracy'][str(FRAMES_K[0])]:.2f}", _percent(rows[name]["f1_authors"])]
        for name, label in FIG3.items()
    ]
    return _markdown(
        ["layers or weighting", f"accuracy at K={FRAMES_K[0]}, %", "validation F1 (authors'), %"], table
    )


def _losses_table(records: Sequence[Mapping[str, Any]]) -> str:
    names = {"loss_mtd": "MTD", "loss_last_mtd": "Last-MTD", "loss_fitnets": "FitNets"}
    table = [[str(r["epoch"]), *(f"{r[name]:.4f}" for name in names)] for r in records if "loss_mtd" in r]
    return _markdown(["epoch", *names.values()], table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _markdown(head: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *table]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
