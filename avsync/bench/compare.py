"""Train students by several methods with equal budgets and evaluate them on unseen speakers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avsync.core.constants import Mask
from avsync.core.errors import MediaError, UsageError
from avsync.core.files import write_whole
from avsync.data.labels import evenly
from avsync.data.shards import Store
from avsync.distill.checkpoint import LAST
from avsync.distill.methods import METHODS
from avsync.distill.run import default_cache, start
from avsync.evaluation.protocol import FRAMES_K, protocol_accuracy
from avsync.evaluation.validation import clip_scores
from avsync.networks.base import count_parameters
from avsync.networks.checkpoint import load

RESULT = "result.json"
TABLE = "table.md"


def compare(
    data: Path,
    teacher: str,
    run: Path,
    *,
    methods: Sequence[str],
    seeds: Sequence[int] = (0,),
    config: Path | None = None,
    cache: Path | None = None,
    split: str = "test",
    limit: int = 0,
    workers: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """A row for the teacher and for a student of each method and seed (see `evaluate`), also written as a
    table into `run`.

    Each student is a separate run below `run`, so an interrupted comparison continues where it was. Every
    method is trained with one seed before the next seed.

    Raises UsageError for an unknown method, and whatever training raises.
    """
    if unknown := [method for method in methods if method not in METHODS]:
        raise UsageError(f"There is no method {unknown[0]!r}; choose from {', '.join(METHODS)}.")
    cache = cache or default_cache(data)
    options: dict[str, Any] = {"data": data, "cache": cache, "workers": workers, "device": device}
    options["quiet"] = quiet
    start({}, prepare_only=True, **options)
    store = clips_of(cache, split, limit)
    rows = [evaluate("teacher", teacher, store, run / "teacher", device)]
    for seed in seeds:
        for method in methods:
            folder = run / f"{method}-{seed}"
            if not (folder / RESULT).is_file():
                _train(folder, method, seed, config=config, teacher=teacher, **options)
            best = folder / "best.safetensors"
            rows.append(evaluate(f"{method}, seed {seed}", best, store, folder, device))
    write_whole(run / TABLE, markdown(rows).encode(), what="the table")
    return rows


def clips_of(cache: Path, split: str, limit: int) -> Store:
    """At most `limit` prepared clips (0: all) of a split, evenly spaced. Raises MediaError: there are
    none."""
    store = Store(cache, [split], min_windows=2)
    chosen = set(evenly([clip.id for clip in store.clips], limit))
    store = store.select(lambda clip: clip.id in chosen)
    if not len(store):
        raise MediaError(
            f"There are no prepared clips of the split {split} to evaluate on; name another with --split."
        )
    return store


def _train(
    folder: Path, method: str, seed: int, *, config: Path | None, teacher: str, **options: Any
) -> None:
    """Start or resume the training of one student."""
    if (folder / LAST).is_file():
        start({}, resume=folder, **options)
    else:
        start({"method": method, "seed": seed}, config=config, run=folder, teacher=teacher, **options)


def evaluate(
    name: str,
    checkpoint: str | Path,
    store: Store,
    folder: Path,
    device: str = "auto",
    mask: Mask = "both",
) -> dict[str, Any]:
    """A row of the table: parameters, minutes of training, validation F1, and accuracy in percent by input
    length on the clips of `store`, with candidates masked by `mask`. Cached in `folder`."""
    path = folder / RESULT
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if kept is not None and kept["mask"] == mask:
        return kept
    loaded = load(checkpoint, device)
    scores = list(clip_scores(loaded, store, mask=mask))
    row = {
        "name": name,
        "parameters": count_parameters(loaded.model),
        "minutes": round(loaded.info.get("seconds", 0) / 60, 1) or None,
        "f1": (loaded.info.get("validation") or {}).get("f1"),
        "accuracy": {str(k): round(100 * protocol_accuracy(scores, k), 2) for k in FRAMES_K},
        "clips": len(scores),
        "mask": mask,
    }
    write_whole(path, json.dumps(row).encode(), what="the result")
    return row


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table; accuracy in percent, by the input length K in frames."""
    lengths = list(rows[0]["accuracy"])
    head = ["student", "parameters", "minutes", "validation F1", *(f"K={k}" for k in lengths)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        f1 = "" if row["f1"] is None else f"{100 * row['f1']:.2f}"
        cells = [row["name"], f"{row['parameters']:,}", str(row["minutes"] or ""), f1]
        lines.append("| " + " | ".join([*cells, *(f"{row['accuracy'][k]:.2f}" for k in lengths)]) + " |")
    return "\n".join(lines) + "\n"
