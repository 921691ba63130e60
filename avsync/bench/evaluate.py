"""Evaluate models by the published protocol on the clips of a split, for `avsync bench accuracy`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avsync.bench.accuracy import VALIDATION_SPLIT, evaluate_model
from avsync.bench.corruptions import Corruption
from avsync.bench.data import open_clips, read_groups
from avsync.bench.models import Named, load
from avsync.bench.published import ROWS, as_dict
from avsync.core.errors import UsageError
from avsync.data.labels import delay_of, entry_of, read_delays, read_recordings
from avsync.data.shards import Store

Progress = Callable[[str, int, int], None]
"""progress(what, done, total)."""


def evaluate(
    data: Path,
    models: Sequence[Named],
    *,
    split: str = "test",
    limit: int = 0,
    delays: Path | None = None,
    groups: Sequence[Path] = (),
    recordings: Path | None = None,
    corruptions: Sequence[Corruption] = (),
    cache: Path | None = None,
    workers: int = 0,
    device: str = "auto",
    progress: Progress = lambda _what, _done, _total: None,
) -> dict[str, Any]:
    """Plain values: a row per model, see `evaluate_model`, beside the published ones.

    Args:
        data: what `avsync train --data` takes, or the folder of a prepared cache.
        models: what to evaluate; none may look at whole faces where there are `corruptions`.
        split: one split, or several with commas.
        limit: evaluate at most this many clips, evenly spaced; 0: all.
        delays: file of the ms by which the audio of clips, by id or its beginning, must be delayed to be in
            sync. Only the clips that it names are evaluated.
        groups: files of clip ids, or their beginnings, to labels; each label has a row.
        recordings: CSV of the recordings that clips were cut from.
        corruptions: each is applied to all clips in turn.
        cache: where prepared clips are kept.
        workers: processes that prepare clips; 0: one per core.
        device: where the models run.
        progress: called as progress(what, done, total).

    Raises:
        UsageError: a file names no clip of the split, or cannot be read.
        ModelError: a model cannot be used.
        MediaError: the split has no usable clip.
    """
    loaded = [load(model, device) for model in models]  # refuse a wrong name before hours of work
    if corruptions and any(model.model.crop == "face" for model in loaded):
        raise UsageError("--corrupt alters mouth crops, but SyncNet takes whole faces; omit one.")
    recorded = read_recordings(recordings) if recordings else {}
    labels = {path: read_groups(path) for path in groups}
    known = read_delays(str(delays) if delays else None)
    stores = open_clips(
        data,
        tuple(dict.fromkeys((split, VALIDATION_SPLIT))),
        cache=cache,
        limit=limit,
        workers=workers,
        progress=lambda done, total, _id: progress("preparing clips", done, total),
    )
    validation = stores[-1]
    clips = stores[0].select(lambda clip: not delays or delay_of(clip, known) is not None)
    where = f"the split {split} of {data}"
    if not len(clips):
        raise UsageError(f"{delays} names no clip of {where}.")
    _require_named(clips, labels, where)
    if recordings and not any(clip.id in recorded for clip in clips.clips):
        raise UsageError(f"{recordings} names no clip of {where} that is evaluated.")
    rows = [
        evaluate_model(
            model,
            clips,
            validation,
            _named(progress, f"evaluating {model.name}"),
            known,
            groups={path.stem: of_clips for path, of_clips in labels.items()},
            recorded=recorded,
            corruptions=corruptions,
        )
        for model in loaded
    ]
    return {
        "data": str(data),
        "split": split,
        "clips": len(clips),
        "validation_clips": len(validation),
        "models": rows,
        "published": [as_dict(row) for row in ROWS],
    }


def _require_named(clips: Store, labels: Mapping[Path, Mapping[str, str]], where: str) -> None:
    """Raise UsageError for a file of labels that names none of the clips."""
    for path, of_clips in labels.items():
        if all(entry_of(clip.id, of_clips) is None for clip in clips.clips):
            raise UsageError(f"{path} names no clip of {where} that is evaluated.")


def _named(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)
