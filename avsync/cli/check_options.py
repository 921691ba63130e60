"""The options of a check, shared by all commands that check, each with its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from avsync.cli.options import Command, with_options
from avsync.core import constants
from avsync.core.options import CheckOptions
from avsync.core.profiles import PROFILES


def _seconds(text: str | float) -> float:
    """Seconds, given as such or as a clock has them: 90, 1:30, 0:01:30.5."""
    parts = str(text).split(":")
    try:
        if len(parts) > 3 or any(not 0 <= float(part) < 60 for part in parts[1:]):
            raise ValueError
        return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))
    except ValueError:
        raise typer.BadParameter(f"{text} is no time; give seconds, or [hours:]minutes:seconds.") from None


LIMITS = "What is in tolerance"
MEASURING = "How it is measured"
Model = Annotated[
    str,
    typer.Option(metavar="NAME", help="Name of a model (see: avsync models list) or path of a checkpoint."),
]
Device = Annotated[constants.Device, typer.Option(help="Where the model runs.")]
Config = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=LIMITS,
        metavar="FILE",
        help="Take defaults from this file. Default: the nearest avsync.toml, here or in a folder above.",
    ),
]
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
            help="Judge this audio file instead of the video's own audio.",
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
            metavar="TIME",
            parser=_seconds,
            help="Check only from here on (seconds, or 1:02:30); the times of the report stay those of the "
            "file.",
        ),
    ],
    "duration_s": Annotated[
        float | None,
        typer.Option(
            "--duration",
            rich_help_panel=MEASURING,
            metavar="TIME",
            parser=_seconds,
            help="Check only this long. Default: to the end.",
        ),
    ],
    "allow_playlists": Annotated[
        bool,
        typer.Option(
            "--allow-playlists",
            help="Also read HLS playlists (.m3u8), with files from their own folder or host only.",
        ),
    ],
    "precision": Annotated[
        constants.Precision,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="NAME",
            help="Precision of the model on a CPU: the fastest (auto), or float32.",
        ),
    ],
    "hwaccel": Annotated[
        constants.Hwaccel,
        typer.Option(
            rich_help_panel=MEASURING,
            metavar="NAME",
            help="Decode the video with a device where it can: auto (the first that can), cuda, vaapi, qsv, "
            "amf, videotoolbox, d3d11va, d3d12va or vulkan.",
        ),
    ],
}
"""Every field of `CheckOptions` as an option of the command line."""


def with_check_options(*names: str) -> Callable[[Command], Command]:
    """Replace a command's parameter `check` by these of CHECK_OPTIONS."""
    return with_options("check", {name: (CHECK_OPTIONS[name], getattr(CheckOptions, name)) for name in names})
