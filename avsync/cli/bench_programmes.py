"""`avsync bench programmes`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsync.cli.bench_options import AsJson, Device, Model
from avsync.cli.console import emit, guarded
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError

if TYPE_CHECKING:
    from avsync.bench.programme_outcomes import Outcome

Clips = Annotated[
    list[Path],
    typer.Argument(metavar="DATA", help="Folders of clips, <speaker>/<clip>.mp4 below them anywhere."),
]
Known = Annotated[
    list[Path],
    typer.Option(
        metavar="FILE", help="JSON of the clips' own errors in ms; others are left out. Repeatable."
    ),
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where what is computed from the clips is kept.")]
Count = Annotated[int, typer.Option(min=1, help="Programmes to compose.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first programme.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that judge programmes.")]
Jitter = Annotated[
    float,
    typer.Option(
        min=0,
        help="Judge the programmes again with face boxes off by this many of 96 pixels; 0: do not.",
    ),
]


@guarded
def programmes(
    data: Clips,
    known: Known,
    cache: Cache,
    count: Count = 100,
    seed: Seed = 0,
    jobs: Jobs = 1,
    jitter: Jitter = 0.0,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Judge synthetic programmes of 2 to 10 minutes: joined scenes of clips, with known defects.

    What is computed from the clips is kept, so a second run takes seconds per programme.

    [bold]Example[/bold]
    avsync bench programmes lrs2/ --known delays.json --cache clips/ --jobs 2
    """
    from avsync.bench import programme_figures as bench
    from avsync.bench.programme_clips import collect
    from avsync.bench.programme_outcomes import run
    from avsync.data.labels import read_delays
    from avsync.estimate.calibration import Calibration
    from avsync.networks import checkpoint
    from avsync.networks.fast import fast

    loaded = fast(checkpoint.load(model, device))
    delays = {name: ms for file in known for name, ms in read_delays(str(file)).items() if "/" in name}
    clips = collect(data, delays, cache, loaded)
    if len({clip.speaker for clip in clips}) < 2:
        folders = ", ".join(map(str, data))
        raise UsageError(f"{folders} holds clips of fewer than two speakers that --known names.")
    calibration = Calibration.from_dict(loaded.calibration)
    seeds = range(seed, seed + count)
    outcomes = run(clips, calibration, seeds, jobs)
    again: Sequence[Outcome] = ()
    if jitter:
        again = run(collect(data, delays, cache, loaded, jitter), calibration, seeds, jobs)
    if as_json:
        emit(json.dumps(bench.document(outcomes, again), indent=2) + "\n")
    else:
        emit("\n".join(_lines(outcomes, again)) + "\n")
    return 0


def _lines(outcomes: Sequence[Outcome], again: Sequence[Outcome]) -> list[str]:
    """The figures and curves as text; `again`: with jittered face boxes."""
    from avsync.bench import programme_figures as bench

    found = {**bench.summarise(outcomes), **bench.robustness(outcomes, again)}
    lines = [f"{name.replace('_', ' ')}: {_number(value)}" for name, value in found.items()]
    for title, rows in (
        ("Local defects by seconds of speech", bench.by_speech(outcomes)),
        ("Local defects by size in ms", bench.by_size(outcomes)),
    ):
        lines += ["", f"{title}: from, to, how many, found, not called in sync"]
        lines += ["  ".join(_number(value) for value in row) for row in rows]
    lines += ["", "Share of the speech that in sync takes: share, false in sync, clean ones partly judged"]
    lines += ["  ".join(_number(value) for value in row) for row in bench.by_least_judged(outcomes)]
    for what, table in bench.reliability(outcomes).items():
        lines += ["", f"Probability ({what}): mean, share right, how many"]
        lines += ["  ".join(_number(value) for value in row) for row in table]
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
