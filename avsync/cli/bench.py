"""`avsync bench`: measured speed and accuracy, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.cli.console import emit, guarded
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError

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
Split = Annotated[
    str, typer.Option(metavar="NAME", help="The clips that are judged; several with commas (with --data).")
]
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
Groups = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="JSON of clips (or the start of their names) to labels: rows by label; may be given several "
        "times (with --data).",
    ),
]
Recordings = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with the columns id and recording (and language) of clips cut from longer recordings: how "
        "well the answers for one recording agree, which needs no truth (with --data).",
    ),
]
SpoilWith = Annotated[
    str,
    typer.Option(
        "--spoil",
        metavar="LIST",
        help="The same clips again, each time spoilt: lowres:WIDTH (pixels a face), mask, whisper "
        "(with --data).",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where prepared clips are kept; by default cache/NAME here. With --train: clips to train on "
        "instead of made ones.",
    ),
]
Workers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Processes that prepare clips; 0: one a core.")
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu or cuda (with --data, --speed, --train).")
]
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
Known = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON of errors that clips are known to have as stored: file name without suffix, ms by which "
        "the audio is early. The copies are judged against them (with --real).",
    ),
]
Defects = Annotated[
    bool,
    typer.Option(
        "--defects",
        help="Instead: give each clip of 20 s or more a shift, a drift, a jump and foreign sound in turn; "
        "check that, mend it, check again (with --real).",
    ),
]
Speed = Annotated[bool, typer.Option("--speed", help="Time the models, the plain way and ours side by side.")]
Video = Annotated[
    float | None,
    typer.Option(min=0, metavar="S", help="Seconds of made 720p video to check end to end (60); 0: none."),
]
Windows = Annotated[int, typer.Option(min=2, metavar="N", help="Neighbouring windows that are timed.")]
Train = Annotated[
    bool,
    typer.Option(
        "--train", help="Time training: samples a second, and how much of the device's peak that is."
    ),
]
Method = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="As for avsync distill; bce is without teacher (with --train)."),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML of a recipe; the paper's by default (with --train).")
]
Batch = Annotated[
    int | None,
    typer.Option(metavar="N", help="Samples a step; by default the recipe's, 8 on a CPU (with --train)."),
]
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
BATCH_ON_CPU = 8
"""The paper's batch of 128 takes minutes a step there."""
ONLY_WITH = {
    "--data": ("split", "limit", "delays", "groups", "recordings", "spoil", "workers"),
    "--real": ("shifts", "encode", "noise", "music", "fps", "known", "defects"),
    "--train": ("method", "config", "batch"),
}
"""Options that say nothing without another."""


@guarded
def bench(
    ctx: typer.Context,
    speed: Speed = False,
    models: Models = DEFAULT_MODEL,
    data: Data = None,
    split: Split = "test",
    limit: Limit = 0,
    delays: Delays = None,
    groups: Groups = None,
    recordings: Recordings = None,
    spoil: SpoilWith = "",
    cache: Cache = None,
    workers: Workers = 0,
    device: Device = "auto",
    real: Real = None,
    shifts: Shifts = 4,
    encode: Encode = "h264",
    noise: Noise = "",
    music: Music = "",
    fps: Fps = "25,24,30000/1001,60,own",
    known: Known = None,
    defects: Defects = False,
    video: Video = None,
    windows: Windows = 25,
    train: Train = False,
    method: Method = None,
    config: Config = None,
    batch: Batch = None,
    runs: Runs = 3,
    plot: Plot = None,
    log: Log = None,
    as_json: AsJson = False,
) -> int:
    """Measure how fast and how right avsync is on this machine and on your videos.

    Without options: the bundled model on a few made clips, and its speed.

    [bold]Examples[/bold]

    avsync bench

    avsync bench --data lrs2/ --split test --models avsync-3,vocalist=vocalist_5f_lrs2.pth

    avsync bench --data lrs2/ --groups yaw.json --spoil lowres:24,mask,whisper

    avsync bench --data wild/ --recordings wild/manifest.csv

    avsync bench --speed --models avsync-3,student,teacher

    avsync bench --real clips/ --shifts 5 --encode h264,vp9 --noise 10,0 --music 5

    avsync bench --real clips/ --defects

    avsync bench --train --method mtd --batch 128

    avsync bench --log runs/all --log runs/fusion4 --plot figures/
    """
    from avsync.bench.models import check_known, parse_models
    from avsync.cli import bench_parts as parts

    modes = {"--data": data is not None, "--real": real is not None, "--train": train}
    _check_modes(modes, {name for name in ctx.params if _typed(ctx, name)})
    bare = not (speed or log or any(modes.values()))
    chosen = parse_models(models)
    _check_plot(plot, anything=data is not None or (real is not None and not defects) or bool(log))
    check_known(chosen[:1] if real is not None or bare else [], untrained=False)
    check_known(chosen if speed else [], untrained=True)
    show = not as_json
    result: dict[str, Any] = {"schema": 1}
    if log:
        result["runs"] = parts.runs(log, show=show)
    if data is not None:
        from avsync.bench.corruptions import parse_spoils

        where = {"delays": delays, "cache": cache, "workers": workers, "device": device}
        apart = {"groups": groups or [], "recordings": recordings, "spoils": parse_spoils(spoil)}
        judged = parse_models(models, untrained=False)
        result["accuracy"] = parts.accuracy(data, split, limit, judged, show=show, **where, **apart)
    if real is not None and not real.is_dir():
        raise UsageError(f"{real} is not a folder; give a folder of videos that are in sync.")
    if real is not None and defects:
        result["defects"] = parts.defects(real, chosen[0], show=show)
    elif real is not None:
        from avsync.bench.distortions import find_clips, parse_conditions, parse_rates, plan_cases
        from avsync.distill.tasks import read_delays

        conditions, rates = parse_conditions(encode, noise, music), parse_rates(fps)
        # Sound that is early by so much must be delayed by as much.
        own = read_delays(str(known) if known else None)
        cases = plan_cases(find_clips(real), shifts, conditions, rates, known=own)
        result["real"] = parts.real(cases, chosen[0], show=show)
    if bare:
        result["demo"] = parts.demo(chosen[0], show=show)
    if speed or bare:
        length = (BARE_VIDEO_S if bare else VIDEO_S) if video is None else video
        result |= parts.speed(chosen, device, length, windows, runs, show=show)
    if train:
        from avsync.distill.recipe import read_recipe
        from avsync.networks.checkpoint import pick_device

        if batch is None and config is None and pick_device(device).type == "cpu":
            batch = BATCH_ON_CPU
        recipe = read_recipe(config, method=method, batch=batch)
        result |= parts.training(recipe, cache, device, runs, show=show)
    if plot is not None:
        from avsync.bench.figures import save_figures

        result["figures"] = [str(path) for path in save_figures(result, plot)]
        if show:
            emit("".join(f"Drew {path}\n" for path in result["figures"]))
    if as_json:
        emit(json.dumps(result, indent=2) + "\n")
    return 0


def _typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_modes(modes: dict[str, bool], said: Collection[str]) -> None:
    """Raises UsageError for an option that would be ignored."""
    for mode, options in ONLY_WITH.items():
        if not modes[mode] and (idle := [name for name in options if name in said]):
            raise UsageError(f"--{idle[0]} says nothing without {mode}; give both.")
    if "defects" in said and (idle := [name for name in ONLY_WITH["--real"][:-1] if name in said]):
        raise UsageError(f"--defects makes defects of its own, so --{idle[0]} says nothing; leave one out.")


def _check_plot(plot: Path | None, *, anything: bool) -> None:
    """Raises UsageError before hours of work where nothing could be drawn at its end."""
    if plot is None:
        return
    if not anything:
        raise UsageError("--plot draws what --data, --real or --log give; name one of them.")
    if plot.exists() and not plot.is_dir():
        raise UsageError(f"{plot} is no folder; give one to --plot.")
