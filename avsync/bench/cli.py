"""`avsync bench`: measured speed and accuracy, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.console import console, emit, guarded
from avsync.errors import UsageError
from avsync.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from avsync.bench.real import Outcome
    from avsync.bench.speed import ModelSpeed

Models = Annotated[
    str,
    typer.Option(
        "--models",
        metavar="LIST",
        help="Names or paths, comma-separated; student and teacher are the paper's networks.",
    ),
]
Real = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Shift, re-encode and check the in-sync videos of this folder."),
]
Shifts = Annotated[int, typer.Option(min=1, metavar="N", help="Shifted copies of each video (with --real).")]
Speed = Annotated[bool, typer.Option("--speed", help="Time the models, the plain way and ours side by side.")]
Video = Annotated[
    float,
    typer.Option(min=0, metavar="S", help="Seconds of made 720p video to check end to end; 0: none."),
]
Windows = Annotated[int, typer.Option(min=2, metavar="N", help="Neighbouring windows that are timed.")]
Runs = Annotated[int, typer.Option(min=1, metavar="N", help="Timed runs of each way; the median counts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")]


@guarded
def bench(
    speed: Speed = False,
    models: Models = DEFAULT_MODEL,
    real: Real = None,
    shifts: Shifts = 4,
    video: Video = 60.0,
    windows: Windows = 25,
    runs: Runs = 3,
    as_json: AsJson = False,
) -> int:
    """Measure how fast and how right avsync is on this machine and on your videos.

    [bold]Examples[/bold]

    avsync bench

    avsync bench --speed --models avsync-1,student,teacher

    avsync bench --real clips/ --shifts 25 --json
    """
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise UsageError("--models names no model; give names or paths, comma-separated.")
    result: dict[str, Any] = {"schema": 1}
    if real is not None:
        result["real"] = _real(real, names[0], shifts, show=not as_json)
    if speed or real is None:
        result |= _speed(names, video, windows, runs, show=not as_json)
    if as_json:
        emit(json.dumps(result, indent=2) + "\n")
    return 0


def _speed(names: Sequence[str], video: float, windows: int, runs: int, *, show: bool) -> dict[str, Any]:
    from avsync.bench import speed as timing

    measured = []
    for name in names:
        with _status(f"timing {name}"):
            measured.append(timing.model_speed(name, windows=windows, runs=runs))
    result: dict[str, Any] = {
        "machine": timing.machine(),
        "speed": [timing.as_dict(m) for m in measured],
    }
    if show:
        _print_speed(measured, result["machine"])
    if video:
        with _status(f"checking {video:.0f} s of made video"):
            result["end_to_end"] = timing.end_to_end(names[0], video)
        if show:
            _print_end_to_end(result["end_to_end"], names[0])
    return result


def _print_speed(measured: Sequence[ModelSpeed], machine: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Seconds per window of 31 offsets, median (least-most)")
    for heading in (
        "model",
        "parameters",
        "MB",
        "GFLOP, plain",
        "plain",
        "ours",
        "faster",
        "largest difference",
    ):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for m in measured:
        size = "-" if m.megabytes is None else f"{m.megabytes:.1f}"
        table.add_row(
            *[m.name, f"{m.parameters:,}", size, f"{m.gflop_plain:.0f}", _times(m.plain_s), _times(m.ours_s)],
            *[f"{m.speedup:.1f} x", f"{m.largest_difference:.1e}"],
        )
    console().print(table)
    console().print(f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}")


def _times(times: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f}-{:.3f})".format(*times)


def _print_end_to_end(result: dict[str, Any], model: str) -> None:
    from rich.table import Table

    table = Table(title=f"avsync check of {result['video_s']:.0f} s of 720p with {model}")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, seconds in result["timings_s"].items():
        table.add_row(stage, f"{seconds:.2f}")
    console().print(table)


def _real(folder: Path, model: str, shifts: int, *, show: bool) -> dict[str, Any]:
    from avsync.bench import real as bench_real

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give a folder of videos that are in sync.")
    cases = bench_real.plan_cases(bench_real.find_clips(folder), shifts)
    outcomes = []
    with _progress() as bar:
        task = bar.add_task("checking shifted copies", total=len(cases))
        for found in bench_real.run(cases, model):
            outcomes.append(found)
            bar.advance(task)
    if show:
        _print_real(outcomes)
    return {
        "model": model,
        "all": bench_real.summarise(outcomes),
        "by_source": {k: bench_real.summarise(v) for k, v in _by_source(outcomes).items()},
        "cases": [bench_real.as_dict(o) for o in outcomes],
    }


def _by_source(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """By the first part of the file's name, up to its last dash."""
    groups: dict[str, list[Outcome]] = {}
    for found in outcomes:
        groups.setdefault(found.case.clip.stem.rpartition("-")[0] or found.case.clip.stem, []).append(found)
    return dict(sorted(groups.items()))


def _print_real(outcomes: Sequence[Outcome]) -> None:
    from rich.table import Table

    from avsync.bench.real import LIMITS_MS, summarise

    table = Table(title="Shifted and re-encoded copies: error of what was answered")
    for heading in ("source", "copies", "answered", "median error", *[f"within {n} ms" for n in LIMITS_MS]):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for name, part in {**_by_source(outcomes), "all": list(outcomes)}.items():
        row = summarise(part)
        within = [_percent(row[f"within_{n}ms"]) for n in LIMITS_MS]
        median = row["median_error_ms"]
        error = "-" if median is None else f"{median:.0f} ms"
        table.add_row(name, str(row["cases"]), _percent(row["answered_share"]), error, *within)
    console().print(table)


def _percent(share: float | int | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _status(words: str) -> Any:
    from rich.console import Console

    return Console(stderr=True).status(words)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True)
