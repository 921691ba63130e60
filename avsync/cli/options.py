"""Arguments and options that commands share, each with its help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.core import constants
from avsync.core.options import CheckOptions
from avsync.core.profiles import PROFILES

STDIN = "-"


def _named(text: str) -> Path:
    """A path that was given: an empty one, of a shell variable that is not set, would mean this folder."""
    if not text:
        raise typer.BadParameter("a name is empty; give a video, or . for this folder.")
    return Path(text)


# --- Panels of the help ----------------------------------------------------------------------

LIMITS = "What is in tolerance"
MEASURING = "How it is measured"
RESULTS = "Results in files"
MANY = "Many files"
HOOKS = "As a service"


def _path_or_stream(text: str) -> Path | str:
    """A path, or as text what is none: an address of the web or - for stdin, unless a file is called so."""
    from avsync.media.elsewhere import is_address

    return text if (text == STDIN or is_address(text)) and not Path(text).exists() else _named(text)


# --- The options of a check ---------------------------------------------------------------

Model = Annotated[
    str,
    typer.Option(metavar="NAME", help="Name of a model (see: avsync models list) or path of a checkpoint."),
]
Device = Annotated[constants.Device, typer.Option(help="Where the model runs.")]

CHECK_OPTIONS: dict[str, Any] = {
    "model": Model,
    "standard": Annotated[
        constants.Standard,
        typer.Option(
            rich_help_panel=LIMITS,
            metavar="NAME",
            help=f"Tolerance to apply: {', '.join(constants.STANDARDS)}.",
        ),
    ],
    "tolerance_ms": Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--tolerance",
            rich_help_panel=LIMITS,
            metavar="EARLY LATE",
            help="Largest error in tolerance, in milliseconds, instead of the standard's.",
        ),
    ],
    "profile": Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LIMITS,
            metavar="NAME",
            help=f"QC profile that sets the limits: {', '.join(PROFILES)}, or a .yaml file.",
        ),
    ],
    "max_offset_ms": Annotated[
        float, typer.Option(rich_help_panel=MEASURING, help="Largest offset searched, in milliseconds.")
    ],
    "max_drift_ms_per_min": Annotated[
        float,
        typer.Option(
            "--max-drift",
            rich_help_panel=LIMITS,
            help="Largest drift in tolerance, in milliseconds per minute.",
        ),
    ],
    "min_judged": Annotated[
        float,
        typer.Option(
            rich_help_panel=LIMITS,
            help='Share (0 to 1) of the speech over visible talking faces that must be scored for "in sync".',
        ),
    ],
    "min_fault_s": Annotated[
        float,
        typer.Option(
            "--min-fault",
            rich_help_panel=LIMITS,
            metavar="SECONDS",
            help="Local faults shorter than this are only listed.",
        ),
    ],
    "audio": Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="FILE",
            help="Compare the video with this audio file, not with its own audio.",
        ),
    ],
    "audio_track": Annotated[
        int | None,
        typer.Option(
            rich_help_panel=MEASURING,
            help="Audio track to use, 0 being the first. Default: the one that players choose, else the "
            "first with speech.",
        ),
    ],
    "face_detector": Annotated[
        str,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="NAME",
            help=f"Face detector: {', '.join(constants.DETECTORS)}, or another package's.",
        ),
    ],
    "device": Device,
    "stride": Annotated[
        int | None,
        typer.Option(
            rich_help_panel=MEASURING,
            help="Score every N-th frame. Default: every frame of a short video, fewer of a long one.",
        ),
    ],
    "sample": Annotated[
        constants.Sample,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="NAME",
            help="How much of a long video to score: until the answer is certain (adaptive), all of it "
            "(exhaustive), or adaptive on a CPU only (auto).",
        ),
    ],
    "start_s": Annotated[
        float,
        typer.Option(
            "--start",
            rich_help_panel=MEASURING,
            metavar="SECONDS",
            help="Check only from here on; the times of the report stay those of the file.",
        ),
    ],
    "duration_s": Annotated[
        float | None,
        typer.Option(
            "--duration",
            rich_help_panel=MEASURING,
            metavar="SECONDS",
            help="Check only this much. Default: up to the end.",
        ),
    ],
    "allow_playlists": Annotated[
        bool,
        typer.Option(
            "--allow-playlists",
            help="Read HLS playlists (.m3u8) as well, with the files of their own folder or host alone.",
        ),
    ],
    "precision": Annotated[
        constants.Precision,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="NAME",
            help="How exactly the model computes on a CPU: as fast as it can (auto), or in float32.",
        ),
    ],
}
"""Every field of `CheckOptions` as an option of the command line."""

Command = Callable[..., int | None]
Shared = dict[str, tuple[Any, Any]]
"""Options that several commands have: name -> (annotation, default)."""


def with_options(parameter: str, options: Shared) -> Callable[[Command], Command]:
    """Replaces one parameter of a command by `options`; the command gets them there as one dictionary."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        kind = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(name, kind, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
        parameters: list[inspect.Parameter] = []
        for name, own_parameter in own.parameters.items():
            parameters += shared if name == parameter else [own_parameter.replace(kind=kind)]

        @functools.wraps(command)
        def run(**given: Any) -> int | None:
            together = {name: given.pop(name) for name in options}
            return command(**given, **{parameter: together})

        run.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def with_check_options(*names: str) -> Callable[[Command], Command]:
    """These of CHECK_OPTIONS in place of a command's parameter `check`."""
    return with_options("check", {name: (CHECK_OPTIONS[name], getattr(CheckOptions, name)) for name in names})


# --- Inputs, outputs and how the work is done ----------------------------------------------

Paths = Annotated[
    list[Any] | None,  # of Path or str, see _path_or_stream
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
        help="Write faults, offsets and gaps as markers for editing suites: .otio, .edl, .fcpxml or .csv.",
    ),
]
Overlay = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=RESULTS,
        metavar="FILE",
        help="Write the video as .mp4 with faces, who speaks, the offset and the scores drawn on it.",
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
        help="Give up on a file after this time and go on with the next. Default: after half an hour "
        "without progress, in a batch.",
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
Config = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=LIMITS,
        metavar="FILE",
        help="Take defaults from this file. Default: the nearest avsync.toml, here or in a folder above.",
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
        help="With --watch: a file is complete when it has not changed for so long and can be read.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
