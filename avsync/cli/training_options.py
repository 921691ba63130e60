"""Options that `avsync distill` and `avsync train` share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.options import Quiet, Shared
from avsync.core import constants

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="LRS2, LRS3, data prepared for Wav2Lip, any folder of videos, or a CSV with path,split.",
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Frozen teacher: name or path of a checkpoint. Default: vocalist, if it is on this machine.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME", help="Recipe: a YAML file, or a shipped one such as mtd; options override it."
    ),
]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where prepared clips are kept. Default: cache/NAME here.")
]
Run = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Folder of the run. Default: runs/DATE-METHOD."),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that prepare clips; 0: one per core.")]
Device = Annotated[constants.Device, typer.Option(help="Where to train.")]

RECIPE_OPTIONS: Shared = {
    "preset": (
        Annotated[
            str | None,
            typer.Option(
                metavar="NAME", help="paper (the default), authors (as their code has it) or vocalist."
            ),
        ],
        None,
    ),
    "init": (
        Annotated[
            str | None,
            typer.Option(metavar="PATH", help="Start from this checkpoint or run, not from random weights."),
        ],
        None,
    ),
    "speech_encoder": (
        Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="Dense objective: ONNX encoder of the speech recogniser Moonshine, as an audio teacher.",
            ),
        ],
        None,
    ),
    "speech_corpus": (
        Annotated[
            str | None,
            typer.Option(metavar="DIR", help="With --speech-encoder: recorded speech without video."),
        ],
        None,
    ),
    "epochs": (Annotated[int | None, typer.Option(help="Epochs to train.")], None),
    "minutes": (Annotated[float | None, typer.Option(help="Train this long instead of by epochs.")], None),
    "batch": (
        Annotated[int | None, typer.Option(help="Pairs per step (dense: clips), over all processes.")],
        None,
    ),
    "lr": (Annotated[float | None, typer.Option("--lr", help="Learning rate.")], None),
    "seed": (Annotated[int | None, typer.Option(help="Runs with the same seed give the same losses.")], None),
}
"""Settings of the recipe."""

RUN_OPTIONS: Shared = {
    "data": (Data, None),
    "out": (
        Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="The trained checkpoint, a .safetensors file."),
        ],
        None,
    ),
    "config": (Config, None),
    "cache": (Cache, None),
    "run": (Run, None),
    "resume": (
        Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Continue a stopped run exactly where it stopped."),
        ],
        None,
    ),
    "workers": (Workers, 0),
    "device": (Device, "auto"),
    "prepare_only": (
        Annotated[bool, typer.Option("--prepare-only", help="Fill the cache, then stop.")],
        False,
    ),
    "retry_broken": (
        Annotated[bool, typer.Option("--retry-broken", help="Retry clips that could not be used before.")],
        False,
    ),
    "quiet": (Quiet, False),
}
"""Where a run's inputs and outputs are, and how it works."""
