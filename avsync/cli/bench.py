"""`avsync bench`: the quick look, speed, training speed and figures. For accuracy see `bench_accuracy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.cli.bench_accuracy import accuracy, defects, videos
from avsync.cli.bench_generated import generated
from avsync.cli.bench_options import (
    AsJson,
    Device,
    Model,
    Models,
    Runs,
    check_figure_folder,
    draw,
    print_drawn,
    print_json,
    print_tables,
)
from avsync.cli.bench_programmes import programmes
from avsync.cli.console import guarded, guarded_alone
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError
from avsync.core.files import read_json

if TYPE_CHECKING:
    from avsync.bench.models import Named

app = typer.Typer()

BATCH_ON_CPU = 8
"""A step with the paper's batch of 128 takes minutes on a CPU."""

Video = Annotated[
    float, typer.Option(min=0, help="Seconds of synthetic 720p video to check end to end; 0: none.")
]
Windows = Annotated[int, typer.Option(min=2, help="Neighbouring windows to time.")]


@app.callback(invoke_without_command=True)
@guarded_alone
def bench(
    model: Model = DEFAULT_MODEL,
    clips: Annotated[int, typer.Option(min=1, help="Synthetic clips to check.")] = 4,
    video: Video = 30.0,
    windows: Windows = 25,
    runs: Runs = 3,
    as_json: AsJson = False,
) -> None:
    """Measure accuracy and speed on this machine.

    Without a subcommand: a quick look, on a few synthetic clips.

    [bold]Examples[/bold]
    avsync bench
    avsync bench accuracy --data lrs2/ --split test
    avsync bench videos clips/
    """
    from avsync.bench.models import check_known, parse_models
    from avsync.bench.videos import as_dict, run_demo_set, summarise
    from avsync.cli.bench_tables import demo_table
    from avsync.cli.progress import progress_bars

    (chosen,) = models = parse_models(model)[:1]
    check_known(models, untrained=False)
    outcomes = []
    with progress_bars() as bar:
        for number, outcome in enumerate(run_demo_set(chosen.checkpoint, clips), 1):
            bar("demo", "checking synthetic clips", number, clips)
            outcomes.append(outcome)
    if not as_json:
        print_tables(demo_table(outcomes, chosen.name))
    timed = _speed(models, "auto", video, None, windows, runs, as_json=as_json)
    if as_json:
        cases = [as_dict(outcome) for outcome in outcomes]
        print_json(demo={"model": chosen.name, "all": summarise(outcomes), "cases": cases}, **timed)


app.command()(accuracy)
app.command()(videos)
app.command()(defects)
app.command()(programmes)
app.command()(generated)


@app.command()
@guarded
def speed(
    models: Models = DEFAULT_MODEL,
    device: Device = "auto",
    video: Video = 60.0,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check this video instead, compared with plain decoding."),
    ] = None,
    windows: Windows = 25,
    runs: Runs = 3,
    as_json: AsJson = False,
) -> None:
    """Time models: a naive forward pass per pair, and avsync's way.

    student, teacher, syncnet, perfect-match, avst and dual name networks without
    weights.

    [bold]Examples[/bold]
    avsync bench speed
    avsync bench speed --models mine.safetensors,student,teacher --video 0
    avsync bench speed --file talk.mp4 --windows 2 --runs 1
    """
    from avsync.bench.models import check_known, parse_models

    chosen = parse_models(models)
    check_known(chosen, untrained=True)
    timed = _speed(chosen, device, video, file, windows, runs, as_json=as_json)
    if as_json:
        print_json(**timed)


def _speed(
    models: list[Named],
    device: str,
    video: float,
    given: Path | None,
    windows: int,
    runs: int,
    *,
    as_json: bool,
) -> dict[str, Any]:
    """Time each model, and the first one on a whole synthetic video of `video` seconds; print each table as
    soon as it is done, since each takes minutes."""
    from avsync.bench import speed as timing
    from avsync.cli.bench_tables import decoding_table, end_to_end_table, machine_words, speed_table
    from avsync.cli.progress import progress_bars

    measured = []
    with progress_bars() as bar:
        for number, model in enumerate(models):
            bar("speed", f"timing {model.name}", number, len(models))
            measured += timing.model_speeds([model], device=device, windows=windows, runs=runs)
    machine = timing.machine(device)
    result: dict[str, Any] = {"machine": machine, "speed": [timing.as_dict(m) for m in measured]}
    if not as_json:
        print_tables(speed_table(measured), machine_words(machine))
    if video or given:
        with progress_bars() as bar:
            bar("video", f"checking {given or 'a synthetic video'}", 0, None)
            result["end_to_end"] = timing.end_to_end(models[0].checkpoint, video, given)
        if not as_json:
            print_tables(
                end_to_end_table(result["end_to_end"], models[0].name),
                decoding_table(result["end_to_end"]["against_decoding"]),
            )
    return result


@app.command()
@guarded
def training(
    method: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="As for avsync distill; bce is without a teacher."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Recipe in YAML. Default: the paper's.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Samples per step. Default: the recipe's; 8 on a CPU.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Prepared clips to train on. Default: synthetic ones."),
    ] = None,
    device: Device = "auto",
    runs: Runs = 3,
    as_json: AsJson = False,
) -> None:
    """Time training: samples per second, and the share of the device's peak.

    [bold]Examples[/bold]
    avsync bench training --method mtd --batch 128
    avsync bench training --config mine.yaml --cache cache/lrs2
    """
    from avsync.bench import speed as timing
    from avsync.bench.training_speed import as_dict, train_speed
    from avsync.cli.bench_tables import processor_words, training_table
    from avsync.cli.progress import progress_bars
    from avsync.distill.recipe import read_recipe
    from avsync.networks.checkpoint import pick_device

    if batch is None and config is None and pick_device(device).type == "cpu":
        batch = BATCH_ON_CPU
    recipe = read_recipe(config, method=method, batch=batch)
    with progress_bars() as bar:
        bar("train", "timing training", 0, None)
        found = train_speed(
            recipe,
            cache=cache,
            device=device,
            runs=runs,
            progress=lambda done, total: bar("train", "timing training", done, total),
        )
    machine = timing.machine(device)
    if as_json:
        print_json(machine=machine, train=as_dict(found))
    else:
        print_tables(training_table(found), f"{processor_words(machine)}.")


@app.command()
@guarded
def figures(
    documents: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JSON", help="What other subcommands of bench print with --json."),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of a distillation run; may be given several times."),
    ] = None,
    plot: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the figures.")] = Path("figures"),
    as_json: AsJson = False,
) -> None:
    """Draw figures of measurements and of distillation runs.

    Accuracy against cost needs the documents of both accuracy and speed.

    [bold]Examples[/bold]
    avsync bench figures accuracy.json speed.json
    avsync bench figures --log runs/all --log runs/fusion4 --plot figures/
    """
    if not documents and not log:
        raise UsageError("There is nothing to draw; name JSON documents, or a run with --log.")
    check_figure_folder(plot)
    from avsync.bench.run_logs import read_runs
    from avsync.cli.bench_tables import runs_table

    merged: dict[str, Any] = {}
    for path in documents or []:
        merged |= _read_document(path)
    if log:
        merged["runs"] = read_runs(log)
    drawn = draw(merged, plot)
    if not drawn:
        raise UsageError("The documents hold nothing that can be drawn; see: avsync bench accuracy --json.")
    if as_json:
        print_json(runs=merged.get("runs", []), figures=drawn)
        return
    if log:
        print_tables(runs_table(merged["runs"]))
    print_drawn(drawn)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise UsageError(f"{path} is not a document of avsync bench --json.")
    return document
