"""`avsync bench generated`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.bench_options import AsJson, Device, Model, print_json, print_tables
from avsync.cli.console import guarded
from avsync.core.constants import DEFAULT_MODEL

Videos = Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Videos, or folders of them.")]
SyncNet = Annotated[
    str | None,
    typer.Option(
        "--syncnet", metavar="FILE", help="SyncNet's weights, such as syncnet_v2.model, for LSE-D and LSE-C."
    ),
]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a row for each face.")]


@guarded
def generated(
    videos: Videos,
    syncnet: SyncNet = None,
    model: Model = DEFAULT_MODEL,
    csv: Csv = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure generated talking heads: LSE-D, LSE-C and the offset.

    LSE-D and LSE-C are SyncNet's and need its weights, which you have to download
    yourself. Without them, the model's own measures are shown, under its name.

    [bold]Examples[/bold]
    avsync bench generated outputs/ --syncnet syncnet_v2.model --csv faces.csv
    avsync bench generated outputs/
    """
    from avsync.batch.inputs import find_media
    from avsync.bench import generated as bench
    from avsync.cli.bench_tables import generated_tables
    from avsync.cli.progress import progress_bars
    from avsync.core.files import Kind, ready, write_whole

    if csv is not None:
        ready(csv, Kind("table of faces", lambda head: head.startswith(b"path,verdict,face,")), "--csv")
    paths = find_media(videos)
    found = []
    with progress_bars() as bar:
        for number, video in enumerate(bench.measured(paths, model, syncnet, device), 1):
            bar("videos", "measuring videos", number, len(paths))
            found.append(video)
    if csv is not None:
        write_whole(csv, bench.to_csv(found).encode(), what="the table")
    summary = bench.summarise(found)
    if as_json:
        print_json(model=model, syncnet=syncnet, summary=summary, videos=list(map(bench.as_dict, found)))
    else:
        print_tables(*generated_tables(found, summary))
