"""Train students by several methods under equal budgets and tabulate them on unseen speakers.

    python -m avsync.bench.compare --data DATA --teacher NAME --config docs/configs/compare.yaml --run DIR

Every student is a run of its own below --run, so a comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.cli.console import emit, guarded
from avsync.cli.distill import Config, Data, Device, Quiet, Run, Teacher, Workers

METHODS = "bce,kd,rkd,minilm,fitnets,nmtd,mtd"
RESULT = "result.json"

Methods = Annotated[str, typer.Option(metavar="LIST", help="Methods to compare.")]
Seeds = Annotated[str, typer.Option(metavar="LIST", help="Seeds of every method.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="The clips that the students are judged on.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="Judge on at most so many clips, evenly taken.")]


@guarded
def compare(
    data: Data = None,
    teacher: Teacher = None,
    config: Config = None,
    run: Run = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Where prepared clips are kept.")] = None,
    methods: Methods = METHODS,
    seeds: Seeds = "0",
    split: Split = "test",
    limit: Limit = 0,
    workers: Workers = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> int:
    """Train a student by each method and print a table of validation F1 and of accuracy on other speakers."""
    from avsync.core.errors import UsageError
    from avsync.distill.run import default_cache, start

    if data is None or run is None or teacher is None:
        raise UsageError("A comparison needs --data, --teacher and --run.")
    where = {"data": data, "cache": cache or default_cache(data), "workers": workers, "device": device}
    start({}, prepare_only=True, quiet=quiet, **where)
    judged_on = {"split": split, "limit": limit}
    rows = [judge(name="teacher", checkpoint=teacher, folder=run / "teacher", **judged_on, **where)]
    for method, seed in _plan(methods, seeds):
        folder = run / f"{method}-{seed}"
        _train(folder, method, seed, config=config, teacher=teacher, quiet=quiet, **where)
        rows.append(
            judge(
                name=f"{method}, seed {seed}",
                checkpoint=folder / "best.safetensors",
                folder=folder,
                **judged_on,
                **where,
            )
        )
    table = markdown(rows)
    (run / "table.md").write_text(table, encoding="utf-8")
    emit(table)
    return 0


def _plan(methods: str, seeds: str) -> Iterator[tuple[str, int]]:
    """Seeds outside, so that one seed of every method is there first."""
    for seed in seeds.split(","):
        for method in methods.split(","):
            yield method.strip(), int(seed)


def _train(
    folder: Path, method: str, seed: int, *, config: Path | None, teacher: str, **options: Any
) -> None:
    """One student: begun, resumed, or found finished."""
    from avsync.distill.checkpoint import LAST
    from avsync.distill.run import start

    if (folder / RESULT).is_file():
        return
    if (folder / LAST).is_file():
        start({}, resume=folder, **options)
    else:
        start({"method": method, "seed": seed}, config=config, run=folder, teacher=teacher, **options)


def judge(
    *,
    name: str,
    checkpoint: str | Path,
    split: str,
    limit: int,
    folder: Path,
    cache: Path,
    device: str,
    **_: Any,
) -> dict[str, Any]:
    """A row of the table: parameters, minutes of training, validation F1, and accuracy in percent by
    input length on the clips of `split`, at most `limit` of them (0: all); kept in `folder/result.json`."""
    from avsync.core.errors import MediaError
    from avsync.data.labels import evenly
    from avsync.data.shards import Store
    from avsync.evaluation.protocol import FRAMES_K, protocol_accuracy
    from avsync.evaluation.validation import clip_scores
    from avsync.networks.base import count_parameters
    from avsync.networks.checkpoint import load

    path = folder / RESULT
    if path.is_file():
        return json.loads(path.read_text())
    store = Store(cache, [split], min_windows=2)
    chosen = set(evenly([clip.id for clip in store.clips], limit))
    store = store.select(lambda clip: clip.id in chosen)
    if not len(store):
        raise MediaError(
            f"There are no prepared clips of the split {split} to judge on; name another with --split."
        )
    loaded = load(checkpoint, device)
    scores = list(clip_scores(loaded, store))
    row = {
        "name": name,
        "parameters": count_parameters(loaded.model),
        "minutes": round(loaded.info.get("seconds", 0) / 60, 1) or None,
        "f1": (loaded.info.get("validation") or {}).get("f1"),
        "accuracy": {str(k): round(100 * protocol_accuracy(scores, k), 2) for k in FRAMES_K},
        "clips": len(scores),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row))
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; the accuracy is in percent, by the input length K in frames."""
    lengths = list(rows[0]["accuracy"])
    head = ["student", "parameters", "minutes", "validation F1", *(f"K={k}" for k in lengths)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        f1 = "" if row["f1"] is None else f"{100 * row['f1']:.2f}"
        cells = [row["name"], f"{row['parameters']:,}", str(row["minutes"] or ""), f1]
        lines.append("| " + " | ".join([*cells, *(f"{row['accuracy'][k]:.2f}" for k in lengths)]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(compare)
