"""The parts of what `avsync bench` gives: each measures, shows its tables, and returns plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from avsync.bench.tables import PIPE_WIDTH
from avsync.cli.console import console, emit
from avsync.core.errors import UsageError

if TYPE_CHECKING:
    from avsync.bench.corruptions import Spoil
    from avsync.bench.distortions import Case
    from avsync.bench.models import Named
    from avsync.distill.recipe import Recipe


def runs(logs: Sequence[Path], *, show: bool) -> list[dict[str, Any]]:
    """What the logs of distillation runs tell."""
    from avsync.bench import tables
    from avsync.bench.run_logs import read_runs

    found = read_runs(logs)
    if show:
        present(tables.runs_table(found))
    return found


def accuracy(
    data: Path,
    split: str,
    limit: int,
    models: Sequence[Named],
    *,
    delays: Path | None,
    cache: Path | None,
    workers: int,
    device: str,
    groups: Sequence[Path],
    recordings: Path | None,
    spoils: Sequence[Spoil],
    show: bool,
) -> dict[str, Any]:
    """Each model by the published protocol on the clips of a split; `groups` are files of labels,
    `recordings` a CSV of where they were cut from."""
    from avsync.bench import tables
    from avsync.bench.accuracy import VALIDATION_SPLIT, judge
    from avsync.bench.data import open_clips, read_groups
    from avsync.bench.models import load
    from avsync.bench.published import NOTE, ROWS, as_dict
    from avsync.cli.progress import progress_bars
    from avsync.data.labels import delay_of, entry_of, read_delays, read_recordings

    with progress_bars() as bar:

        def preparing(done: int, total: int, _: str) -> None:
            bar("data", "preparing clips", done, total)

        loaded = [load(model, device) for model in models]  # a wrong name is told before hours of work
        if spoils and any(model.model.crop == "face" for model in loaded):
            raise UsageError("--spoil alters crops of the mouth, but SyncNet looks at faces; leave one out.")
        recorded = read_recordings(recordings) if recordings else {}
        labels = {path.stem: read_groups(path) for path in groups}
        splits = tuple(dict.fromkeys((split, VALIDATION_SPLIT)))
        stores = open_clips(data, splits, cache=cache, limit=limit, workers=workers, progress=preparing)
        known = read_delays(str(delays) if delays else None)
        if delays:
            stores[0] = stores[0].select(lambda clip: delay_of(clip, known) is not None)
        if not len(stores[0]):
            raise UsageError(f"{delays} names no clip of the split {split} of {data}.")
        for path in groups:
            if all(entry_of(clip.id, labels[path.stem]) is None for clip in stores[0].clips):
                raise UsageError(f"{path} names no clip of the split {split} of {data} that is judged.")
        if recordings and not any(clip.id in recorded for clip in stores[0].clips):
            raise UsageError(f"{recordings} names no clip of the split {split} of {data} that is judged.")
        rows = []
        for model in loaded:

            def judging(done: int, total: int, name: str = model.name) -> None:
                bar(name, f"judging {name}", done, total)

            rows.append(judge(model, stores[0], stores[-1], judging, known, labels, recorded, spoils))
    if show:
        table = tables.accuracy_table(rows, ROWS, f"{data.name}, {split}, {len(stores[0])} clips")
        present(table, NOTE)
        for row in rows:
            if len(row["by_source"]) > 1:
                present(tables.source_table(row))
            present(*(tables.group_table(row, name) for name in row["by_group"]))
            if row["agreement"]:
                present(tables.agreement_table(row))
            if row["spoilt"]:
                present(tables.spoilt_table(row))
    return {
        "data": str(data),
        "split": split,
        "clips": len(stores[0]),
        "validation_clips": len(stores[-1]),
        "models": rows,
        "published": [as_dict(row) for row in ROWS],
    }


def speed(
    models: Sequence[Named], device: str, video: float, windows: int, runs: int, *, show: bool
) -> dict[str, Any]:
    """Each model timed, and the first on a whole made video of `video` seconds (0: none)."""
    from avsync.bench import speed as timing
    from avsync.bench import tables
    from avsync.bench.speed import end_to_end
    from avsync.cli.progress import progress_bars

    measured = []
    with progress_bars() as bar:
        for number, model in enumerate(models):
            bar("speed", f"timing {model.name}", number, len(models))
            measured += timing.model_speeds([model], device=device, windows=windows, runs=runs)
    result: dict[str, Any] = {
        "machine": timing.machine(device),
        "speed": [timing.as_dict(m) for m in measured],
    }
    if show:
        present(tables.speed_table(measured), _machine_words(result["machine"]))
    if video:
        with progress_bars() as bar:
            bar("video", f"checking {video:.0f} s of made video", 0, None)
            result["end_to_end"] = end_to_end(models[0].checkpoint, video)
        if show:
            present(tables.end_to_end_table(result["end_to_end"], models[0].name))
    return result


def processor_words(machine: dict[str, Any]) -> str:
    """What the figures were made on, for a person."""
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return f"{gpu}{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}"


def _machine_words(machine: dict[str, Any]) -> str:
    return (
        f"{processor_words(machine)}, float32. RTF: seconds of work for a second of one face, every frame's "
        "window scored; peak: of the whole process, or of the GPU's memory."
    )


def demo(model: Named, *, show: bool) -> dict[str, Any]:
    """The model on made clips with known errors."""
    from avsync.bench import tables, videos
    from avsync.cli.progress import progress_bars

    outcomes = []
    with progress_bars() as bar:
        checked = videos.run_demo_set(model.checkpoint, videos.DEMO_CLIPS, videos.DEMO_CLIP_S)
        for number, found in enumerate(checked, 1):
            bar("demo", "checking made clips", number, videos.DEMO_CLIPS)
            outcomes.append(found)
    if show:
        present(tables.demo_table(outcomes, model.name))
    return {
        "model": model.name,
        "all": videos.summarise(outcomes),
        "cases": [videos.as_dict(o) for o in outcomes],
    }


def real(cases: Sequence[Case], model: Named, *, show: bool) -> dict[str, Any]:
    """The model on altered copies of the user's own videos."""
    from avsync.bench import tables
    from avsync.bench import videos as whole
    from avsync.cli.progress import progress_bars

    outcomes = []
    with progress_bars() as bar:
        bar("real", "checking altered copies", 0, len(cases))
        for number, found in enumerate(whole.run(cases, model.checkpoint), 1):
            outcomes.append(found)
            bar("real", "checking altered copies", number, len(cases))
    groups = {
        "by_source": whole.grouped(outcomes, whole.source),
        "by_condition": whole.grouped(outcomes, lambda o: o.case.condition.name),
        "by_fps": whole.grouped(outcomes, whole.stored_fps),
    }
    calibrated = whole.reliability(outcomes)
    if show:
        title = f"Altered copies, checked with {model.name}: error of what was answered"
        for heading, parts in groups.items():
            present(tables.real_table(title, heading.removeprefix("by_"), {**parts, "all": outcomes}))
        present(*tables.reliability_parts(calibrated), *tables.failure_parts(outcomes))
    return {
        "model": model.checkpoint,
        "all": whole.summarise(outcomes),
        **{name: {k: whole.summarise(v) for k, v in parts.items()} for name, parts in groups.items()},
        "reliability": calibrated,
        "cases": [whole.as_dict(o) for o in outcomes],
    }


def defects(folder: Path, model: Named, *, show: bool) -> dict[str, Any]:
    """The model on the long clips of a folder, with one defect after the other."""
    from avsync.bench import defects, tables
    from avsync.bench.distortions import find_clips
    from avsync.cli.progress import progress_bars

    every = find_clips(folder)
    clips = defects.long_clips(every)
    trials = []
    with progress_bars() as bar:
        total = len(defects.KINDS) * len(clips)
        bar("defects", "spoiling and mending clips", 0, total)
        for trial in defects.run(clips, every, model.checkpoint):
            trials.append(trial)
            bar("defects", "spoiling and mending clips", len(trials), total)
    if show:
        present(tables.defects_table(trials, model.name))
    return {"model": model.checkpoint, "trials": [defects.as_dict(trial) for trial in trials]}


def training(recipe: Recipe, cache: Path | None, device: str, runs: int, *, show: bool) -> dict[str, Any]:
    """How fast a recipe trains."""
    from avsync.bench import speed as timing
    from avsync.bench import tables
    from avsync.bench import training_speed as timed
    from avsync.cli.progress import progress_bars

    with progress_bars() as bar:
        bar("train", "timing training", 0, None)
        found = timed.train_speed(
            recipe, cache=cache, device=device, runs=runs,
            progress=lambda done, total: bar("train", "timing training", done, total),
        )  # fmt: skip
    result = {"machine": timing.machine(device), "train": timed.as_dict(found)}
    if show:
        present(tables.training_table(found), processor_words(result["machine"]) + ".")
    return result


def present(*parts: Table | str) -> None:
    """Write tables and sentences to stdout; a reader that has gone is no error."""
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, PIPE_WIDTH)
    with out.capture() as capture:
        for part in parts:
            out.print(part, highlight=False, soft_wrap=isinstance(part, str))
    emit(capture.get(), styled=True)
