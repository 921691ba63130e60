"""`avsync bench`: measured speed and accuracy, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.console import emit, guarded
from avsync.errors import UsageError
from avsync.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from avsync.bench.copies import Case
    from avsync.bench.models import Named

Models = Annotated[
    str,
    typer.Option(
        "--models",
        metavar="LIST",
        help="Names, paths or NAME=PATH, comma-separated, or all; for speed, student and teacher are the "
        "paper's networks without weights.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Accuracy by the published protocol on this data: what avsync train --data takes, or a "
        "prepared cache.",
    ),
]
Split = Annotated[str, typer.Option(metavar="NAME", help="The clips that are judged (with --data).")]
Limit = Annotated[
    int, typer.Option(min=0, metavar="N", help="At most so many clips, evenly taken; 0: all (with --data).")
]
Delays = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON or YAML of clips (or the start of their names) off as stored: the ms by which the "
        "sound must be delayed. Only these clips are judged, put right (with --data).",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where prepared clips are kept; by default cache/NAME here."),
]
Workers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Processes that prepare clips; 0: one a core.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda (with --data, --speed).")]
Real = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Shift, alter and check the in-sync videos of this folder, with the first of --models.",
    ),
]
Shifts = Annotated[int, typer.Option(min=1, metavar="N", help="Shifted copies of each video (with --real).")]
Encode = Annotated[
    str,
    typer.Option(metavar="LIST", help="h264, h264-low, hevc, mpeg4, vp9: each for all copies (with --real)."),
]
Noise = Annotated[
    str, typer.Option(metavar="LIST", help="Copies with noise so many dB under the speech (with --real).")
]
Music = Annotated[
    str, typer.Option(metavar="LIST", help="Copies with music so many dB under the speech (with --real).")
]
Fps = Annotated[
    str,
    typer.Option(metavar="LIST", help="Frame rates of the copies, in turn; own: the clip's (with --real)."),
]
Speed = Annotated[bool, typer.Option("--speed", help="Time the models, the plain way and ours side by side.")]
Video = Annotated[
    float | None,
    typer.Option(min=0, metavar="S", help="Seconds of made 720p video to check end to end (60); 0: none."),
]
Windows = Annotated[int, typer.Option(min=2, metavar="N", help="Neighbouring windows that are timed.")]
Runs = Annotated[int, typer.Option(min=1, metavar="N", help="Timed runs of each way; the median counts.")]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Draw what --data, --real and --log give into PNG files there."),
]
Log = Annotated[
    list[Path] | None,
    typer.Option(metavar="RUN", help="Folder of a distillation run; may be given several times."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")]


VIDEO_S, BARE_VIDEO_S = 60.0, 30.0
"""Length of the made video; without options the whole bench is to end within three minutes."""


@guarded
def bench(
    speed: Speed = False,
    models: Models = DEFAULT_MODEL,
    data: Data = None,
    split: Split = "test",
    limit: Limit = 0,
    delays: Delays = None,
    cache: Cache = None,
    workers: Workers = 0,
    device: Device = "auto",
    real: Real = None,
    shifts: Shifts = 4,
    encode: Encode = "h264",
    noise: Noise = "",
    music: Music = "",
    fps: Fps = "25,24,30000/1001,60,own",
    video: Video = None,
    windows: Windows = 25,
    runs: Runs = 3,
    plot: Plot = None,
    log: Log = None,
    as_json: AsJson = False,
) -> int:
    """Measure how fast and how right avsync is on this machine and on your videos.

    Without options: the bundled model on a few made clips, and its speed.

    [bold]Examples[/bold]

    avsync bench

    avsync bench --data lrs2/ --split test --models avsync-1,vocalist=vocalist_5f_lrs2.pth

    avsync bench --speed --models avsync-1,student,teacher

    avsync bench --real clips/ --shifts 5 --encode h264,vp9 --noise 10,0 --music 5

    avsync bench --log runs/all --log runs/fusion4 --plot figures/
    """
    from avsync.bench.models import parse_models

    chosen = parse_models(models)
    _check_plot(plot, anything=data is not None or real is not None or bool(log))
    result: dict[str, Any] = {"schema": 1}
    if log:
        from avsync.bench.runs import read_runs

        result["runs"] = read_runs(log)
        if not as_json:
            from avsync.bench import tables

            tables.show(tables.runs_table(result["runs"]))
    if data is not None:
        where = {"delays": delays, "cache": cache, "workers": workers, "device": device}
        result["accuracy"] = _accuracy(data, split, limit, chosen, show=not as_json, **where)
    if real is not None:
        from avsync.bench.copies import find_clips, parse_conditions, parse_rates, plan_cases

        if not real.is_dir():
            raise UsageError(f"{real} is not a folder; give a folder of videos that are in sync.")
        conditions, rates = parse_conditions(encode, noise, music), parse_rates(fps)
        cases = plan_cases(find_clips(real), shifts, conditions, rates)
        result["real"] = _real(cases, chosen[0], show=not as_json)
    bare = not speed and real is None and data is None and not log
    if bare:
        result["demo"] = _demo(chosen[0], show=not as_json)
    if speed or bare:
        length = (BARE_VIDEO_S if bare else VIDEO_S) if video is None else video
        result |= _speed(chosen, device, length, windows, runs, show=not as_json)
    if plot is not None:
        from avsync.bench.figures import save_figures

        written = save_figures(result, plot)
        if not as_json:
            emit("".join(f"Drew {path}\n" for path in written))
    if as_json:
        emit(json.dumps(result, indent=2) + "\n")
    return 0


def _check_plot(plot: Path | None, *, anything: bool) -> None:
    """Raises UsageError before hours of work where nothing could be drawn at its end."""
    if plot is None:
        return
    if not anything:
        raise UsageError("--plot draws what --data, --real or --log give; name one of them.")
    if plot.exists() and not plot.is_dir():
        raise UsageError(f"{plot} is no folder; give one to --plot.")


def _accuracy(
    data: Path,
    split: str,
    limit: int,
    models: Sequence[Named],
    *,
    delays: Path | None,
    cache: Path | None,
    workers: int,
    device: str,
    show: bool,
) -> dict[str, Any]:
    from avsync.bench import tables
    from avsync.bench.accuracy import VALIDATION_SPLIT, judge
    from avsync.bench.data import open_clips
    from avsync.bench.models import load
    from avsync.bench.published import NOTE, ROWS, as_dict
    from avsync.distill.tasks import delay_of, read_delays
    from avsync.terminal import progress_bars

    with progress_bars() as bar:

        def preparing(done: int, total: int, _: str) -> None:
            bar("data", "preparing clips", done, total)

        loaded = [load(model, device) for model in models]  # a wrong name is told before hours of work
        splits = tuple(dict.fromkeys((split, VALIDATION_SPLIT)))
        stores = open_clips(data, splits, cache=cache, limit=limit, workers=workers, progress=preparing)
        known = read_delays(str(delays) if delays else None)
        if delays:
            stores[0] = stores[0].select(lambda clip: delay_of(clip, known) is not None)
        if not len(stores[0]):
            raise UsageError(f"{delays} names no clip of the split {split} of {data}.")
        rows = []
        for model in loaded:

            def judging(done: int, total: int, name: str = model.name) -> None:
                bar(name, f"judging {name}", done, total)

            rows.append(judge(model, stores[0], stores[-1], judging, known))
    if show:
        table = tables.accuracy_table(rows, ROWS, f"{data.name}, {split}, {len(stores[0])} clips")
        tables.show(table, NOTE)
        for row in rows:
            if len(row["by_source"]) > 1:
                tables.show(tables.source_table(row))
    return {
        "data": str(data),
        "split": split,
        "clips": len(stores[0]),
        "validation_clips": len(stores[-1]),
        "models": rows,
        "published": [as_dict(row) for row in ROWS],
    }


def _speed(
    models: Sequence[Named], device: str, video: float, windows: int, runs: int, *, show: bool
) -> dict[str, Any]:
    from avsync.bench import speed as timing
    from avsync.bench import tables
    from avsync.bench.end_to_end import end_to_end
    from avsync.terminal import progress_bars

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
        tables.show(tables.speed_table(measured), _machine_words(result["machine"]))
    if video:
        with progress_bars() as bar:
            bar("video", f"checking {video:.0f} s of made video", 0, None)
            result["end_to_end"] = end_to_end(models[0].checkpoint, video)
        if show:
            tables.show(tables.end_to_end_table(result["end_to_end"], models[0].name))
    return result


def _machine_words(machine: dict[str, Any]) -> str:
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return (
        f"{gpu}{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, float32. RTF: "
        "seconds of work for a second of one face, every frame's window scored; peak: of the whole process, "
        "or of the GPU's memory."
    )


def _demo(model: Named, *, show: bool) -> dict[str, Any]:
    from avsync.bench import real, tables
    from avsync.terminal import progress_bars

    outcomes = []
    with progress_bars() as bar:
        checked = real.run_demo_set(model.checkpoint, real.DEMO_CLIPS, real.DEMO_CLIP_S)
        for number, found in enumerate(checked, 1):
            bar("demo", "checking made clips", number, real.DEMO_CLIPS)
            outcomes.append(found)
    if show:
        tables.show(tables.demo_table(outcomes, model.name))
    return {
        "model": model.name,
        "all": real.summarise(outcomes),
        "cases": [real.as_dict(o) for o in outcomes],
    }


def _real(cases: Sequence[Case], model: Named, *, show: bool) -> dict[str, Any]:
    from avsync.bench import real, tables
    from avsync.terminal import progress_bars

    outcomes = []
    with progress_bars() as bar:
        bar("real", "checking altered copies", 0, len(cases))
        for number, found in enumerate(real.run(cases, model.checkpoint), 1):
            outcomes.append(found)
            bar("real", "checking altered copies", number, len(cases))
    groups = {
        "by_source": real.grouped(outcomes, real.source),
        "by_condition": real.grouped(outcomes, lambda o: o.case.condition.name),
        "by_fps": real.grouped(outcomes, real.stored_fps),
    }
    calibrated = real.reliability(outcomes)
    if show:
        title = f"Altered copies, checked with {model.name}: error of what was answered"
        for heading, parts in groups.items():
            tables.show(tables.real_table(title, heading.removeprefix("by_"), {**parts, "all": outcomes}))
        tables.show(*tables.reliability_parts(calibrated))
    return {
        "model": model.checkpoint,
        "all": real.summarise(outcomes),
        **{name: {k: real.summarise(v) for k, v in parts.items()} for name, parts in groups.items()},
        "reliability": calibrated,
        "cases": [real.as_dict(o) for o in outcomes],
    }
