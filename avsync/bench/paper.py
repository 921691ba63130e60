"""MTDVocaLiST's experiments: train what each table and figure of the paper needs, once, and tabulate it
beside the published numbers.

Every network is a separate run in `runs/`, shared by all parts that show it, so an interrupted experiment
continues where it was, and another part adds only what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsync.bench import paper_figures, published
from avsync.bench.compare import RESULT, clips_of, evaluate
from avsync.bench.paper_plan import (
    FIG2,
    FIG3,
    NEEDED,
    OTHERS,
    PARTS,
    SCALES,
    STUDENTS,
    TABLE1,
    TABLE2,
    TEACHER,
    Scale,
)
from avsync.core.constants import Mask
from avsync.core.errors import UsageError
from avsync.core.files import write_whole
from avsync.data.shards import Store
from avsync.distill.checkpoint import LAST
from avsync.distill.monitor import read_metrics
from avsync.distill.run import default_cache, start
from avsync.distill.trainer import BEST
from avsync.evaluation.protocol import FRAMES_K
from avsync.networks.checkpoint import read_card

Row = dict[str, Any]
FRONT = "front"


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
    mask: Mask | None = None,
    cache: Path | None = None,
    workers: int = 0,
    device: str = "auto",
    quiet: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Train, evaluate and plot the parts in `only` (empty: all) into `out`; returns the tables as Markdown,
    by part.

    `teacher`: name or path of the teacher's checkpoint; None trains one first. `mask`: which candidates of
    short clips are masked; None: as in the preset. `tell` is called with the name of each run before it
    starts.

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
    mask = mask or ("one-sided" if preset == "authors" else "both")
    experiment = Experiment(out / "runs", SCALES[scale], preset, teacher, seed, mask, options, tell)
    store = clips_of(cache, split, SCALES[scale].limit)
    rows = {name: experiment.row(name, store) for part in parts for name in NEEDED[part]}
    what = f"{SCALES[scale].note}, {data.name}, {split}, {len(store)} clips"
    tables = {part: _part(part, rows, out, experiment.folder("mtd"), what) for part in parts}
    for part, text in tables.items():
        write_whole(out / f"{part}.md", text.encode(), what="the table")
    write_whole(out / "results.json", json.dumps(list(rows.values()), indent=1).encode(), what="the results")
    return tables


@dataclass
class Experiment:
    """Trains each run when it is first needed."""

    root: Path
    scale: Scale
    preset: str
    teacher: str | None
    seed: int
    mask: Mask
    options: Mapping[str, Any]
    tell: Callable[[str], None]

    def folder(self, name: str) -> Path:
        return self.root / name

    def row(self, name: str, store: Store) -> Row:
        """The results of a run, after training it if that is not done."""
        if name == TEACHER and self.teacher:
            return self._evaluated(name, self.teacher, store)
        best = self.trained(name)
        row = self._evaluated(name, best, store)
        return {**row, "f1_authors": (read_card(best).get("validation") or {}).get("f1_authors")}

    def _evaluated(self, name: str, checkpoint: str | Path, store: Store) -> Row:
        return evaluate(name, checkpoint, store, self.folder(name), self.options["device"], self.mask)

    def trained(self, name: str) -> Path:
        """The best checkpoint of a run, after training it if that is not done."""
        folder = self.folder(name)
        best = folder / BEST
        if (folder / RESULT).is_file():
            return best
        self.tell(name)
        if (folder / LAST).is_file():
            start({}, resume=folder, **self.options)
            return best
        settings = self.settings(name)
        taught = settings["method"] != "bce"
        teacher = (self.teacher or str(self.trained(TEACHER))) if taught else None
        if self.scale.front and name in STUDENTS:
            self.trained(FRONT)
        start(settings, run=folder, teacher=teacher, **self.options)
        return best

    def settings(self, name: str) -> dict[str, Any]:
        """The settings of a run's recipe."""
        common = {"preset": self.preset, **self.scale.settings, "seed": self.seed}
        if name == FRONT:
            return {**common, **(self.scale.front or {})}
        if name == TEACHER:
            own: dict[str, Any] = {"method": "bce", "student": TEACHER}
        elif name in OTHERS:
            own = dict(OTHERS[name])
        else:
            own = {"student": "mtdvocalist", **STUDENTS[name]}
            if self.scale.front:
                own["init"] = str(self.folder(FRONT) / BEST)
        settings = {**common, **own, **self.scale.own.get(name, {})}
        if settings["student"] == "perfect-match":
            settings |= {"objective": "match", "select": "within_1"}
        settings["student"] = self.scale.dims.get(settings["student"], settings["student"])
        return settings


def _part(part: str, rows: Mapping[str, Row], out: Path, mtd: Path, what: str) -> str:
    """The table of a part; its figure, if it has one, is drawn into `out`. `what` was measured, in words."""
    match part:
        case "table1":
            return _accuracy_table(rows, {TEACHER: "VocaLiST", **TABLE1})
        case "table2":
            return _f1_table(rows)
        case "fig2":
            paper_figures.size_and_accuracy([rows[name] for name in FIG2], out / "fig2.png", what)
            return _accuracy_table(rows, FIG2)
        case "fig3":
            paper_figures.bars([(label, rows[name]) for name, label in FIG3.items()], out / "fig3.png", what)
            return _bars_table(rows)
    records = [r for r in read_metrics(mtd) if r["kind"] == "validation"]
    paper_figures.validation_losses(records, out / "fig4.png", what)
    return _losses_table(records)


def _accuracy_table(rows: Mapping[str, Row], shown: Mapping[str, str]) -> str:
    """Accuracy in percent by input length: each measured row, followed by the published one."""
    printed = {row.name: row for row in published.ROWS}
    table = []
    for name, label in shown.items():
        own, theirs = rows[name], printed[label].accuracy
        table.append(
            [label, f"{own['parameters'] / 1e6:.3g} M", *(f"{own['accuracy'][str(k)]:.2f}" for k in FRAMES_K)]
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
