"""`avsync bench programmes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.bench_options import AsJson, Device, Model
from avsync.cli.console import emit, guarded
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError

Clips = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder of clips, <speaker>/<clip>.mp4 below it anywhere.")
]
Known = Annotated[
    Path, typer.Option(metavar="FILE", help="JSON of the clips' own errors in ms; others are left out.")
]
Cache = Annotated[Path, typer.Option(metavar="FOLDER", help="Where what is computed of the clips is kept.")]
Count = Annotated[int, typer.Option(min=1, help="Programmes to compose.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first programme.")]


@guarded
def programmes(
    data: Clips,
    known: Known,
    cache: Cache,
    count: Count = 100,
    seed: Seed = 0,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Judge made programmes: scenes of clips joined, with known defects.

    [bold]Example[/bold]
    avsync bench programmes lrs2/ --known delays.json --cache /tmp/clips --count 200
    """
    from avsync.bench import programmes as bench
    from avsync.bench.programme_clips import collect
    from avsync.estimate.calibration import Calibration
    from avsync.networks.checkpoint import load

    loaded = load(model, device)
    delays = {name: float(ms) for name, ms in json.loads(known.read_text(encoding="utf-8")).items()}
    clips = collect(data, delays, cache, loaded)
    if len({clip.speaker for clip in clips}) < 2:
        raise UsageError(f"{data} holds clips of fewer than two speakers that {known} names.")
    found = bench.summarise(list(bench.run(clips, Calibration.from_dict(loaded.calibration), count, seed)))
    lines = [
        f"{name.replace('_', ' ')}: {'-' if value is None else f'{value:.3g}'}"
        for name, value in found.items()
    ]
    emit(json.dumps(found, indent=2) + "\n" if as_json else "\n".join(lines) + "\n")
    return 0
