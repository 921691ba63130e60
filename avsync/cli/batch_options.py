"""Options for checking files: which ones, how many at once, and where the results go, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.core import constants

STDIN = "-"
RESULTS = "Results in files"
MANY = "Many files"
HOOKS = "As a service"


def _named(text: str) -> Path:
    """A path argument. An empty one, as from an unset shell variable, is refused: it would mean this
    folder."""
    if not text:
        raise typer.BadParameter("a name is empty; give a video, or . for this folder.")
    return Path(text)


def _path_or_stream(text: str) -> Path | str:
    """A path, or the text if it is a web address or - for stdin and there is no file of that name."""
    from avsync.media.elsewhere import is_address

    return text if (text == STDIN or is_address(text)) and not Path(text).exists() else _named(text)


Paths = Annotated[
    list[Path] | None,  # or str, see _path_or_stream
    typer.Argument(
        metavar="PATH",
        parser=_path_or_stream,
        help="Videos, folders of videos, and lists of videos (.txt, or .csv with a column path); or one "
        "http(s) address, or - for standard input.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=RESULTS, help="Print JSON: one document, or a list for several files."
    ),
]
Jsonl = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write one line of JSON per file as each is done; - is stdout.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        rich_help_panel=MANY,
        help="Skip files that the --jsonl file already holds, unless they or the options changed.",
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write a JUnit XML report, one test per video, for CI systems.",
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write a table for spreadsheets, a row for each video; `check` reads it as a list, too.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="PATH",
        help="Plot scores and offset into this .png file, or into a folder.",
    ),
]
Markers = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write faults, offsets and gaps as markers for editing suites: .otio, .edl, .fcpxml or .csv. Of "
        "several files: {name} in the path stands for the name of each.",
    ),
]
Overlay = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write the video as .mp4 with faces, who speaks, the offset and the scores drawn on it. Of "
        "several files as with --markers.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--report",
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write an HTML report with verdict, charts and faces.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=MANY,
        min=1,
        help="Files to check at the same time. Default: 1; with Ray, one per processor.",
    ),
]
Engine = Annotated[
    constants.Engine,
    typer.Option(
        rich_help_panel=MANY,
        help="Where to check them: in local processes, or on a Ray cluster (see RAY_ADDRESS).",
    ),
]
FileTimeout = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=MANY,
        metavar="SECONDS",
        min=0.1,
        help="Give up on a file after this time and go on with the next. Default, in a batch: after six "
        "hours, or half an hour without progress.",
    ),
]
FileMemory = Annotated[
    int,
    typer.Option(
        rich_help_panel=MANY,
        metavar="MB",
        min=1000,
        help="Give up on a file that needs more memory than this; no limit where a GPU is used.",
    ),
]
OnVerdict = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOOKS,
        metavar="COMMAND",
        help="Run this after each file, without a shell; {path}, {verdict} and {offset_ms} are filled in, "
        "the JSON is on its stdin.",
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOOKS, metavar="URL", help="Post the JSON of each file to this https address."
    ),
]
TARGETS: dict[str, Any] = {
    "jsonl": (Jsonl, None),
    "resume": (Resume, False),
    "junit": (Junit, None),
    "table": (Table, None),
    "plot": (Plot, None),
    "page": (Page, None),
    "markers": (Markers, None),
    "overlay": (Overlay, None),
    "on_verdict": (OnVerdict, None),
    "webhook": (Webhook, None),
}
"""Every field of `report.outputs.Targets` as an option of the command line."""
Watch = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=HOOKS,
        metavar="FOLDER",
        help="Keep checking what arrives in this folder, once it is complete; Ctrl-C ends it.",
    ),
]
Settle = Annotated[
    float,
    typer.Option(
        rich_help_panel=HOOKS,
        metavar="SECONDS",
        min=0.1,
        help="With --watch: a file is complete when it has not changed for this long and can be read.",
    ),
]
