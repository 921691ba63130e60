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


def _named(text: str) -> Path:
    """A path that was given: an empty one, of a shell variable that is not set, would mean this folder."""
    if not text:
        raise typer.BadParameter("a name is empty; give a video, or . for this folder.")
    return Path(text)


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
        typer.Option(metavar="NAME", help=f"Tolerance to apply: {', '.join(constants.STANDARDS)}."),
    ],
    "max_offset_ms": Annotated[float, typer.Option(help="Largest offset searched, in milliseconds.")],
    "max_drift_ms_per_min": Annotated[
        float, typer.Option("--max-drift", help="Largest drift in tolerance, in milliseconds per minute.")
    ],
    "min_judged": Annotated[
        float,
        typer.Option(
            help='Share (0 to 1) of the speech over visible talking faces that must be scored for "in sync".'
        ),
    ],
    "audio": Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare the video with this audio file, not with its own audio."),
    ],
    "audio_track": Annotated[
        int | None,
        typer.Option(
            help="Audio track to use, 0 being the first. Default: the one that players choose, else the "
            "first with speech."
        ),
    ],
    "face_detector": Annotated[
        constants.Detector,
        typer.Option(metavar="NAME", help=f"Face detector: {', '.join(constants.DETECTORS)}."),
    ],
    "device": Device,
    "stride": Annotated[
        int | None,
        typer.Option(
            help="Score every N-th frame. Default: every frame of a short video, fewer of a long one."
        ),
    ],
    "sample": Annotated[
        constants.Sample,
        typer.Option(
            metavar="NAME",
            help="How much of a long video to score: until the answer is certain (adaptive), all of it "
            "(exhaustive), or adaptive on a CPU only (auto).",
        ),
    ],
    "precision": Annotated[
        constants.Precision,
        typer.Option(
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
    list[Path],
    typer.Argument(
        metavar="PATH",
        parser=_named,
        help="Videos, folders of videos, and lists of videos (.txt, or .csv with a column path).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or a list for several files.")]
Jsonl = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write one line of JSON per file as each is done; - is stdout."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Skip files that the --jsonl file already holds, unless they or the options changed."
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a JUnit XML report, one test per video, for CI systems."),
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Plot scores and offset into this .png file, or into a folder."),
]
Markers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write faults, offsets and gaps as markers for editing suites: .otio, .edl, .fcpxml or .csv.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write an HTML report with verdict, charts and faces."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Files to check at the same time. Default: 1; with Ray, one per processor."),
]
Engine = Annotated[
    constants.Engine,
    typer.Option(help="Where to check them: in local processes, or on a Ray cluster (see RAY_ADDRESS)."),
]
FileTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.1,
        help="Give up on a file after this time and go on with the next. Default: after half an hour "
        "without progress, in a batch.",
    ),
]
FileMemory = Annotated[
    int,
    typer.Option(
        metavar="MB",
        min=1000,
        help="Give up on a file that needs more memory than this; no limit where a GPU is used.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
