"""What a GPU gives in under eight minutes: the rate of the paper's recipe, and a teacher with MTD, KD and BCE
students at the paper's sizes under equal budgets.

    python research/gpu/run.py --pack crops.zip --out out/
    python research/gpu/run.py --pack crops.zip --out out/ --steps 2 --batch 4 --limit 1     # tried on a CPU

Writes out/speed.json, out/table.md (accuracy by the published protocol on unseen speakers, beside the
published rows), out/results.json, and the checkpoints. Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pack import unpack

from avsync.bench import published
from avsync.bench.compare import clips_of, evaluate
from avsync.bench.training_speed import as_dict, train_speed
from avsync.data.shards import Store
from avsync.distill.checkpoint import LAST, load_state
from avsync.distill.distributed import World
from avsync.distill.loop import plan, train
from avsync.distill.recipe import Recipe, recipe_from
from avsync.distill.run import find_teacher, make_task
from avsync.distill.trainer import BEST, Trainer
from avsync.evaluation.protocol import FRAMES_K
from avsync.networks.checkpoint import pick_device

TEACHER_S, STUDENT_S = 120, 50
"""Seconds of training, by the rate that is measured first; every student gets the same steps."""
ROWS = {"vocalist": "VocaLiST", "mtd": "MTDVocaLiST", "kd": "student, KD", "bce": "student, BCE"}
"""Runs, and the published rows beside them."""
COMMON = {
    "train_splits": ["train"], "val_splits": ["val"], "schedule": "cosine", "warmup_epochs": 0, "epochs": 4,
    "lr": 1e-4, "validation_draws": 4, "validation_clips": 0, "log_steps": 50, "loaders": 4,
}  # fmt: skip


def speeds(batch: int, device: str, runs: int) -> dict[str, Any]:
    """The full MTD recipe at the paper's sizes: as it is and, on a GPU, compiled."""
    found = {}
    ways = {"mtd": {}, "mtd compiled": {"compile": True}}
    for name, settings in ways.items():
        if settings and pick_device(device).type == "cpu":  # where compiling takes minutes and says nothing
            continue
        begun = time.perf_counter()
        recipe = recipe_from({"method": "mtd", "batch": batch, "loaders": 4, **settings})
        timed = as_dict(train_speed(recipe, device=device, runs=runs))
        found[name] = {**timed, "took_s": time.perf_counter() - begun}
    return found


def trained(name: str, recipe: Recipe, cache: Path, out: Path, device: str) -> Path:
    """A run in out/NAME, gone on with where it was."""
    target, folder = pick_device(device), out / name
    stores = (Store(cache, ["train"], min_windows=2), Store(cache, ["val"], min_windows=2))
    teacher = find_teacher(recipe, recipe.network.teacher, target)
    trainer = Trainer(
        recipe, make_task(recipe, stores, teacher, target, World()), folder, target, World(), {}
    )
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LAST).is_file():
        trainer.restore(load_state(folder))
    trainer.progress.total = trainer.progress.total or plan(trainer)
    train(trainer, None)
    return folder / BEST


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=0, help="of every run; 0: by the measured rate")
    parser.add_argument("--limit", type=int, default=80, help="test clips")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    cache = given.out / "cache"
    if not cache.is_dir():
        unpack(given.pack, cache)
    measured = given.out / "speed.json"
    if not measured.is_file():
        rates = speeds(given.batch, given.device, 1 if given.steps else 2)
        measured.write_text(json.dumps(rates, indent=1))
    rates = json.loads(measured.read_text())
    rate = rates["mtd"]["samples_per_s"][0]  # the median
    student = given.steps or round(STUDENT_S * rate / given.batch)
    # A teacher's step goes forwards and backwards through six times the student's weights.
    first = given.steps or round(TEACHER_S * rate / given.batch / 2)
    rows = []
    store = clips_of(cache, "test", given.limit)
    for name in ROWS:
        steps = first if name == "vocalist" else student
        own: dict[str, Any] = (
            {"student": "vocalist", "method": "bce"} if name == "vocalist" else {"method": name}
        )
        if name in ("mtd", "kd"):
            own["teacher"] = str(given.out / "vocalist" / BEST)
        per_epoch = max(1, steps // COMMON["epochs"]) * given.batch
        settings = {**COMMON, "batch": given.batch, "samples_per_epoch": per_epoch, **own}
        settings["epochs"] = min(COMMON["epochs"], steps)
        best = trained(name, recipe_from(settings), cache, given.out, given.device)
        rows.append(evaluate(name, best, store, given.out / name, given.device))
        (given.out / "results.json").write_text(json.dumps(rows, indent=1))
        (given.out / "table.md").write_text(table(rows))
    print(table(rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Accuracy in percent by input length, and below each row the published one."""
    printed = {row.name: row.accuracy for row in published.ROWS}
    head = ["network", *(f"K={k}" for k in FRAMES_K)]
    lines = [head, ["---"] + ["---:"] * len(FRAMES_K)]
    for row in rows:
        lines.append([row["name"], *(f"{row['accuracy'][str(k)]:.2f}" for k in FRAMES_K)])
        lines.append(["published, LRS2", *(f"{value:.2f}" for value in printed[ROWS[row["name"]]])])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


if __name__ == "__main__":
    main()
