"""`avsync distill` and its subcommands."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.cli.console import emit, guarded, guarded_alone
from avsync.cli.options import Quiet, with_options
from avsync.cli.train import start_run
from avsync.cli.training_options import (
    RECIPE_OPTIONS,
    RUN_OPTIONS,
    Cache,
    Config,
    Data,
    Device,
    Run,
    Teacher,
    Workers,
)
from avsync.core import constants
from avsync.core.errors import UsageError

app = typer.Typer()
log = logging.getLogger(__name__)

Method = Annotated[
    str | None, typer.Option(metavar="NAME", help="mtd, nmtd, kd, rkd, minilm, fitnets or bce (no teacher).")
]
Weighting = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Weighting of the losses: uniform, manual, aw13, aw25, uw13 or uw25."),
]
Layers = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="Layers to distil: all, or some of fusion1..4, av1..4, va1..4."),
]
Terms = Annotated[str | None, typer.Option(metavar="LIST", help="cad,vr or one of them.")]
Kl = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="KL direction: student-teacher (the paper's) or teacher-student."),
]


@app.callback(invoke_without_command=True)
@guarded_alone
@with_options("recipe", RECIPE_OPTIONS)
@with_options("run_options", RUN_OPTIONS)
def distill(
    teacher: Teacher = None,
    method: Method = None,
    weighting: Weighting = None,
    layers: Layers = None,
    terms: Terms = None,
    kl: Kl = None,
    *,
    recipe: dict[str, Any],
    run_options: dict[str, Any],
) -> int:
    """Train a compact student from a frozen teacher.

    avsync check --model takes the result.

    [bold]Examples[/bold]
    avsync distill --data lrs2/ --teacher vocalist_5f_lrs2.pth
    avsync distill --data lrs2/ --config mtd --weighting uw25 --layers all
    avsync distill --data lrs2/ --resume runs/2026-01-31-120000-mtd
    torchrun --nproc-per-node 8 -m avsync distill --data lrs2/
    """
    names = {"method": method, "weighting": weighting, "layers": layers, "terms": terms, "kl": kl}
    return start_run(names | recipe, teacher=teacher, **run_options)


# --- Comparing methods --------------------------------------------------------------------

Methods = Annotated[str, typer.Option(metavar="LIST", help="Methods to compare.")]
Seeds = Annotated[str, typer.Option(metavar="LIST", help="Seeds for each method.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="Split on which the students are evaluated.")]
Limit = Annotated[
    int, typer.Option(min=0, help="Evaluate on at most this many clips, evenly spaced; 0: all.")
]


@app.command()
@guarded
def compare(
    data: Data = None,
    teacher: Teacher = None,
    config: Config = None,
    run: Run = None,
    cache: Cache = None,
    methods: Methods = "bce,kd,rkd,minilm,fitnets,nmtd,mtd",
    seeds: Seeds = "0",
    split: Split = "test",
    limit: Limit = 0,
    workers: Workers = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train a student by each method and tabulate F1 and accuracy.

    Each student is a run of its own in the folder --run-dir, so a comparison that was
    stopped continues where it was.

    [bold]Example[/bold]
    avsync distill compare --data lrs2/ --teacher teacher.safetensors \\\\
        --config compare --run-dir runs/compare
    """
    from avsync.bench.compare import compare as run_comparison
    from avsync.bench.compare import markdown

    if data is None or run is None or teacher is None:
        raise UsageError("A comparison needs --data, --teacher and --run-dir.")
    rows = run_comparison(
        data,
        teacher,
        run,
        methods=_words(methods),
        seeds=_seeds(seeds),
        config=config,
        cache=cache,
        split=split,
        limit=limit,
        workers=workers,
        device=device,
        quiet=quiet,
    )
    emit(markdown(rows))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError as error:
        raise UsageError(f"--seeds cannot be {text!r}; it is a list of whole numbers such as 0,1.") from error


# --- The paper's experiments --------------------------------------------------------------


@app.command()
@guarded
def paper(
    data: Data = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Runs, tables and figures.")] = Path("paper"),
    only: Annotated[
        str, typer.Option(metavar="LIST", help="Some of table1, table2, fig2, fig3, fig4; empty: all.")
    ] = "",
    scale: Annotated[
        str, typer.Option(metavar="NAME", help="paper, or tiny: small networks and two short epochs.")
    ] = "paper",
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="paper, or authors: the variants of their code.")
    ] = "paper",
    teacher: Teacher = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every run.")] = 0,
    split: Split = "test",
    mask: Annotated[
        constants.Mask | None,
        typer.Option(help="Missing candidates of short clips. Default: one-sided with --preset authors."),
    ] = None,
    cache: Cache = None,
    workers: Workers = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train and tabulate the experiments of the MTDVocaLiST paper.

    Each network is a run of its own in DIR/runs. A stopped experiment continues
    where it was, and --only adds what is missing.

    [bold]Examples[/bold]
    avsync distill paper --data lrs2/ --out paper/
    avsync distill paper --data lrs2/ --only table2 --preset authors
    avsync distill paper --data lrs2-mini/ --scale tiny
    """
    from avsync.bench.paper import reproduce

    if data is None:
        raise UsageError("Say where the data is: --data FOLDER.")
    options: dict[str, Any] = {"cache": cache, "workers": workers, "device": device, "quiet": quiet}
    tables = reproduce(
        data, out, only=_words(only), scale=scale, preset=preset, teacher=teacher, seed=seed, split=split,
        mask=mask, tell=lambda name: log.info("training %s", name), **options,
    )  # fmt: skip
    emit("\n".join(f"{part}\n\n{table}" for part, table in tables.items()))


# --- Data whose synchrony is unknown --------------------------------------------------------


@app.command()
@guarded
def realign(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or path of a checkpoint.")],
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Folder of prepared clips.")],
    split: Annotated[str, typer.Option(metavar="NAME", help="Split to measure.")] = "unaligned",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The delays, as JSON.")] = Path("delays.json"),
    possible: Annotated[
        tuple[float, float],
        typer.Option(metavar="MS MS", help="Smallest and largest offset that the recordings can have."),
    ] = (-1000.0, 1000.0),
    recordings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV with the columns id and recording: groups clips by their recordings."
        ),
    ] = None,
    each: Annotated[
        str,
        typer.Option(
            metavar="PREFIX", help="Measure one by one the clips whose id starts with this; keep --about."
        ),
    ] = "",
    about: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --each: the delays known so far.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure the delay of training clips whose synchrony is unknown.

    The clips of a speaker are assumed to share one offset, unless --recordings
    or --each is given. Recipes read the result as delays.

    [bold]Examples[/bold]
    avsync distill realign avsync-4 cache/lrs2 --split unaligned
    avsync distill realign avsync-4 cache/lrs2 --each ar --about delays.json
    """
    from avsync.cli.progress import progress_bars
    from avsync.core.files import Kind, ready, write_whole
    from avsync.data import realign as measuring
    from avsync.data.labels import read_delays, read_recordings
    from avsync.data.shards import Store
    from avsync.networks import checkpoint

    if about is not None and not each:
        raise UsageError("--about is used only with --each; give both.")
    if not possible[0] < possible[1]:
        raise UsageError("--possible must be the smaller offset, then the larger one.")
    ready(out, Kind("file of delays", lambda head: head.lstrip().startswith(b"{")), "--out")
    loaded, store = checkpoint.load(model), Store(cache, [split])
    if not len(store):
        raise UsageError(f"{cache} has no clip of the split {split}; name another with --split.")
    if each:
        known = read_delays(str(about) if about else None)
        store = store.select(lambda clip: clip.id.startswith(each))
        found = measuring.one_by_one(loaded, store, known)
        lines = [f"{len(found)} of {len(store)} clips show an offset of their own"]
        made = dict(sorted({**known, **found}.items()))
    else:
        known_recordings = read_recordings(recordings) if recordings else {}
        with progress_bars(quiet=quiet) as bar:
            show = functools.partial(bar, "clips", "measuring clips")
            measured = measuring.realign(loaded, store, known_recordings, progress=show)
        lines = [_recording_words(recording) for recording in measured]
        made = measuring.delays_ms(measured, possible)
    write_whole(out, (json.dumps(made, indent=1) + "\n").encode())
    emit("".join(f"{line}\n" for line in lines))


def _recording_words(recording: Any) -> str:
    offset = recording.offset_ms
    found = "no common offset" if offset is None else f"{offset:+.0f} ms"
    agreeing = f"{len(recording.agreeing)} of {recording.clips} clips"
    return f"{recording.name}: {found}, evidence {recording.evidence:.1f}, {agreeing}"
