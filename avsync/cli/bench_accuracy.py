"""`avsync bench accuracy`, `videos` and `defects`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.bench_options import (
    AsJson,
    Device,
    Model,
    Models,
    Plot,
    check_figure_folder,
    print_results,
)
from avsync.cli.console import guarded
from avsync.cli.training_options import Workers
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of videos that are in sync.")]

Data = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="What avsync train --data takes, or a prepared cache. Required."),
]
Split = Annotated[str, typer.Option(metavar="LIST", help="Splits to evaluate on.")]
Limit = Annotated[int, typer.Option(min=0, help="Evaluate at most this many clips, evenly spaced; 0: all.")]
Delays = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON or YAML: clip id or prefix -> ms by which its audio must be delayed. Only these clips "
        "are evaluated, in sync.",
    ),
]
Groups = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="JSON: clip id or prefix -> label; a row per label. Repeatable."),
]
Recordings = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with id, recording (and language): agreement within a recording, which needs no truth.",
    ),
]
Corrupt = Annotated[
    str,
    typer.Option(
        metavar="LIST", help="Repeat on corrupted clips: lowres:WIDTH (pixels per face), mask, whisper."
    ),
]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where prepared clips are kept. Default: cache/NAME.")
]


@guarded
def accuracy(
    data: Data = None,
    models: Models = DEFAULT_MODEL,
    split: Split = "test",
    limit: Limit = 0,
    delays: Delays = None,
    groups: Groups = None,
    recordings: Recordings = None,
    corrupt: Corrupt = "",
    cache: Cache = None,
    workers: Workers = 0,
    device: Device = "auto",
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate models by the published protocol.

    The table also has whole-clip accuracy and validation F1, and the published
    rows for comparison.

    [bold]Examples[/bold]
    avsync bench accuracy --data lrs2/ --models mine.safetensors,syncnet
    avsync bench accuracy --data lrs2/ --groups yaw.json --corrupt lowres:24,mask
    avsync bench accuracy --data wild/ --recordings wild/manifest.csv
    """
    from avsync.bench.corruptions import parse_corruptions
    from avsync.bench.evaluate import evaluate
    from avsync.bench.models import parse_models
    from avsync.cli.bench_tables import accuracy_tables
    from avsync.cli.progress import progress_bars

    if data is None:
        raise UsageError("Say what to evaluate on: --data PATH.")
    check_figure_folder(plot)
    with progress_bars() as bar:
        found = evaluate(
            data,
            parse_models(models, untrained=False),
            split=split,
            limit=limit,
            delays=delays,
            groups=groups or [],
            recordings=recordings,
            corruptions=parse_corruptions(corrupt),
            cache=cache,
            workers=workers,
            device=device,
            progress=lambda what, done, total: bar(what, what, done, total),
        )
    print_results({"accuracy": found}, accuracy_tables(found), plot, as_json=as_json)


@guarded
def videos(
    folder: Folder,
    model: Model = DEFAULT_MODEL,
    shifts: Annotated[int, typer.Option(min=1, help="Shifted copies per video.")] = 4,
    encode: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="Encodings, each for all copies: h264, h264-low, hevc, mpeg4 or vp9."
        ),
    ] = "h264",
    noise: Annotated[
        str, typer.Option(metavar="LIST", help="Speech-to-noise ratios in dB, each for all copies.")
    ] = "",
    music: Annotated[
        str, typer.Option(metavar="LIST", help="Speech-to-music ratios in dB, each for all copies.")
    ] = "",
    fps: Annotated[
        str, typer.Option(metavar="LIST", help="Frame rates of the copies, in turn; own: unchanged.")
    ] = "25,24,30000/1001,60,own",
    known: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON of file names without suffix to the ms by which their audio is known to be early.",
        ),
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Shift, re-encode and check copies of your own videos.

    [bold]Examples[/bold]
    avsync bench videos clips/
    avsync bench videos clips/ --shifts 5 --encode h264,vp9 --noise 10,0 --music 5
    """
    from avsync.bench import videos as whole
    from avsync.bench.distortions import find_clips, parse_conditions, parse_rates, plan_cases
    from avsync.bench.models import check_known, parse_models
    from avsync.cli.bench_tables import videos_tables
    from avsync.cli.progress import progress_bars
    from avsync.data.labels import read_delays

    check_figure_folder(plot)
    (chosen,) = parse_models(model)[:1]
    check_known([chosen], untrained=False)
    conditions, rates = parse_conditions(encode, noise, music), parse_rates(fps)
    own_ms = read_delays(str(known) if known else None)  # audio that is early must be delayed by as much
    cases = plan_cases(find_clips(folder), shifts, conditions, rates, known=own_ms)
    outcomes = []
    with progress_bars() as bar:
        for number, outcome in enumerate(whole.run(cases, chosen.checkpoint), 1):
            outcomes.append(outcome)
            bar("videos", "checking altered copies", number, len(cases))
    found = whole.to_document(outcomes, chosen.checkpoint)
    tables = videos_tables(outcomes, found["reliability"], chosen.name)
    print_results({"videos": found}, tables, plot, as_json=as_json)


@guarded
def defects(folder: Folder, model: Model = DEFAULT_MODEL, as_json: AsJson = False) -> None:
    """Give videos a known defect, check them, repair them, check again.

    Every video of 20 s or more gets a shift, a drift, a jump and the audio of
    another video in turn.

    [bold]Example[/bold]
    avsync bench defects clips/
    """
    from avsync.bench import defects as made
    from avsync.bench.distortions import find_clips
    from avsync.bench.models import check_known, parse_models
    from avsync.cli.bench_tables import defects_table
    from avsync.cli.progress import progress_bars

    (chosen,) = parse_models(model)[:1]
    check_known([chosen], untrained=False)
    every = find_clips(folder)
    clips = made.long_clips(every)
    trials = []
    with progress_bars() as bar:
        for trial in made.run(clips, every, chosen.checkpoint):
            trials.append(trial)
            bar("defects", "making and repairing defects", len(trials), len(made.KINDS) * len(clips))
    document = {"model": chosen.checkpoint, "trials": [made.as_dict(trial) for trial in trials]}
    print_results({"defects": document}, [defects_table(trials, chosen.name)], as_json=as_json)
