"""Arguments and options that commands share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.core.constants import DETECTORS, ENGINES, STANDARDS


def _named(text: str) -> Path:
    """A path that was given: an empty one, of a shell variable that is not set, would mean this folder."""
    if not text:
        raise typer.BadParameter("a name is empty; give a video, or . for this folder.")
    return Path(text)


Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        parser=_named,
        help="Videos, folders to search for them, and lists of them (.txt, or .csv with a column path).",
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME", help="A model (see: avsync models list), or the path of a checkpoint.")
]
Standard = Annotated[
    str, typer.Option(metavar="NAME", help=f"Tolerances to judge by: {', '.join(STANDARDS)}.")
]
MaxOffset = Annotated[
    float, typer.Option(metavar="MS", help="Largest error that is searched, early or late, in milliseconds.")
]
MaxDrift = Annotated[
    float, typer.Option(metavar="MS", help="Largest drift that is in tolerance, in milliseconds a minute.")
]
MinJudged = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0,
        max=1,
        help='Of the speech over visible talking faces, the share that must be judged for "in sync".',
    ),
]
Audio = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Judge this audio file against the picture, instead of the video's own."
    ),
]
AudioTrack = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Audio track of the video; 0 is the first. By default the one that players take, or else the "
        "first in which speech is heard.",
    ),
]
FaceDetector = Annotated[
    str, typer.Option(metavar="NAME", help=f"How faces are found: {', '.join(DETECTORS)}.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where the model runs: auto, cpu, cuda.")]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Judge every N-th frame; by default, all of a short video, fewer of a long one."
    ),
]
Sample = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How much of a long video to look at: adaptive (until the answer is certain), exhaustive (all), "
        "or auto (adaptive on a CPU).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or a list for several files.")]
Jsonl = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a line of JSON for each file as soon as it is done; - is stdout."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Skip what the --jsonl file holds already, unless the video, or an option, has changed.",
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a JUnit XML file, in which CI systems show each video."),
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Draw score and offset into this .png file, or into a folder."),
]
Page = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write a page (.html) for people: verdict, charts, faces."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Files that are checked at the same time; by default 1, on Ray one for each processor.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"Where to check them: {' or '.join(ENGINES)} (the cluster at RAY_ADDRESS, or one made here).",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
