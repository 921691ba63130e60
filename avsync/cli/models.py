"""`avsync models`: list, describe, download, convert, average, calibrate and compile models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.console import console, emit, guarded
from avsync.core.errors import UsageError
from avsync.core.text import printable

app = typer.Typer(
    help="List, fetch, convert, calibrate and compile models.\n\n[bold]Example[/bold]\navsync models list",
    no_args_is_help=True,
)

LINE = 4096
"""Columns of a pipe, in which no line is broken."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
@guarded
def list_models(as_json: Json = False) -> None:
    """List the models on this machine, and the public ones that can be added.

    Models are looked for in $AVSYNC_MODELS, in the package itself and in the user's cache.

    [bold]Examples[/bold]
    avsync models list
    avsync models list --json
    """
    from rich.table import Column, Table

    from avsync.core import plugins
    from avsync.networks.library import PUBLIC_FILES, available

    here = available()
    brought = [name for name in plugins.names("avsync.models") if name not in here]
    rows = [(name, path.stat().st_size, str(path)) for name, path in here.items()]
    missing = {name: public for name, public in PUBLIC_FILES.items() if name not in here}
    if as_json:
        models = [{"name": name, "bytes": size, "path": path} for name, size, path in rows]
        models += [{"name": name, "bytes": None, "path": None} for name in (*brought, *missing)]
        emit(json.dumps(models, indent=2) + "\n")
        return
    where = Column("where", overflow="fold")  # a path is of use only whole
    table = Table("name", "size", where, box=None, pad_edge=False, header_style="bold")
    for name, size, path in rows:
        table.add_row(printable(name), f"{size / 1e6:.1f} MB", printable(path))
    for name in brought:
        table.add_row(printable(name), "", "another package's")
    for name, public in missing.items():
        how = f"avsync models fetch {name}" if public.url else f"by hand: {public.where}"
        table.add_row(name, "not here", how)
    out = console()
    if not out.is_terminal:
        out.width = LINE
    with out.capture() as capture:
        out.print(table, highlight=False)
    emit(capture.get(), styled=True)


@app.command()
@guarded
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, or the path of a checkpoint.")],
    as_json: Json = False,
) -> None:
    """Describe a model: size, what it was trained on, licence, how its input is prepared.

    [bold]Examples[/bold]
    avsync models info avsync-4
    avsync models info vocalist_5f_lrs2.pth --json
    """
    import yaml

    from avsync.networks import checkpoint

    known = checkpoint.describe(name)
    if as_json:
        emit(json.dumps(known, indent=2, default=str) + "\n")
    else:
        emit(yaml.safe_dump(known, sort_keys=False, allow_unicode=True))


@app.command()
@guarded
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A public model: mtdvocalist.")],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Keep the file only if this is its SHA-256.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Download a public model to the user's cache, once.

    [bold]Examples[/bold]
    avsync models fetch mtdvocalist
    avsync check talk.mp4 --model mtdvocalist
    """
    from avsync.cli.progress import progress_bars
    from avsync.networks.download import fetch as download

    with progress_bars(quiet=quiet) as bar:
        path = download(name, lambda _stage, done, total: bar("", f"downloading {name}", done, total), sha256)
    emit(f"{name} is at {path}\n")


@app.command()
@guarded
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .pth file of the papers' authors.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The .safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace TARGET if it exists.")] = False,
) -> None:
    """Turn a public .pth file into a .safetensors file with its card.

    [bold]Examples[/bold]
    avsync models convert vocalist_5f_lrs2.pth vocalist.safetensors
    """
    from avsync.networks import checkpoint

    _check_target(target, force)
    emit(f"Wrote {checkpoint.convert(source, target)}\n")


@app.command()
@guarded
def average(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Checkpoints of one run, by name or path.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Average the weights of several checkpoints of one training run.

    Calibrate the average before use.

    [bold]Example[/bold]
    avsync models average mean.safetensors early.safetensors late.safetensors
    """
    _check_target(out, force)
    from avsync.networks.average import write_average

    emit(f"Wrote {write_average(out, models)}, the average of {len(models)} checkpoints\n")


@app.command()
@guarded
def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, by name or path.")],
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Folder of prepared clips.")],
    split: Annotated[str, typer.Option(metavar="LIST", help="Splits to use.")] = "val",
    delays: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON: clip id or prefix -> delay in ms."),
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="LIST", help="Splits of which only the clips in --delays are used.")
    ] = "",
    cases: Annotated[int, typer.Option(min=1, help="Excerpts to measure.")] = 800,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same excerpts.")] = 0,
    recordings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with id, recording and language: figures by language, too."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Evaluate the existing calibration and change nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Fit the probabilities of a model to clips whose offset is known.

    The result goes into the card beside the checkpoint, with its quality on
    speakers that it was not fitted on.

    [bold]Examples[/bold]
    avsync models calibrate mine.safetensors cache/lrs2 --split val
    avsync models calibrate mine.safetensors cache/lrs2 --split test --keep
    """
    import yaml

    from avsync.cli.progress import progress_bars
    from avsync.evaluation import calibrate as fitting

    with progress_bars(quiet=quiet) as bar:
        figures = fitting.calibrate(
            model,
            cache,
            splits=split.split(","),
            delays=delays,
            delays_only=[name for name in only.split(",") if name],
            count=cases,
            seed=seed,
            recordings=recordings,
            keep=keep,
            progress=lambda done, total: bar("cases", "scoring excerpts", done, total),
        )
    emit(yaml.safe_dump(figures, sort_keys=False, default_flow_style=None))


@app.command("compile")
@guarded
def compile_checkpoint(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint, by name or path.")],
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Folder of prepared clips.")],
    split: Annotated[str, typer.Option(metavar="LIST", help="Splits to take crops from.")] = "train",
    crops: Annotated[int, typer.Option(min=16, help="Crops to take the ranges of numbers from.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="The same seed takes the same crops.")] = 0,
) -> None:
    """Compile a checkpoint for checks on a CPU, in 8-bit integers.

    The result is MODEL.onnx.zip beside the checkpoint. It is used while the
    checkpoint stays as it is; needs the package onnx.

    [bold]Example[/bold]
    avsync models compile mine.safetensors cache/lrs2 --split pretrain
    """
    from avsync.evaluation.compile import compile_model

    emit(f"Wrote {compile_model(model, cache, split.split(','), crops, seed)}\n")


def _check_target(target: Path, force: bool) -> None:
    """Raises UsageError if the checkpoint `target` must not be written."""
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end in .safetensors.")
    if target.exists() and not force:
        raise UsageError(f"{target} exists already; use --force to replace it, or give another name.")
