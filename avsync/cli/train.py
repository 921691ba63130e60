"""`avsync train`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import platformdirs
import typer

from avsync.cli.console import emit, fail, guarded
from avsync.cli.options import with_options
from avsync.cli.training_options import RECIPE_OPTIONS, RUN_OPTIONS

Arch = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="mtdvocalist (13 M parameters), vocalist (80 M), syncnet, perfect-match, avst, dual; a recipe "
        "describes others.",
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="pairs (the paper's), dense (all shifts within a clip) or match (31 audio windows per video "
        "window).",
    ),
]


@guarded
@with_options("recipe", RECIPE_OPTIONS)
@with_options("run_options", RUN_OPTIONS)
def train(
    arch: Arch = None,
    objective: Objective = None,
    *,
    recipe: dict[str, Any],
    run_options: dict[str, Any],
) -> int:
    """Train a network without a teacher.

    The result serves as a teacher for avsync distill, or as a model for avsync
    check --model.

    [bold]Examples[/bold]
    avsync train --data lrs2/ --arch vocalist --out teacher.safetensors
    avsync train --data lrs2/ --objective dense --config dense.yaml
    """
    chosen = {"student": arch, "objective": objective, **recipe}
    if run_options["resume"] is None:
        chosen["method"] = "bce"
    return start_run(chosen, teacher=None, **run_options)


def start_run(recipe: dict[str, Any], **options: Any) -> int:
    """Train by the recipe's settings and print where the result is; returns the exit code."""
    # torch creates a folder for compiled code even if nothing is compiled.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(platformdirs.user_cache_path("avsync") / "torch"))
    from avsync.distill.loop import Interrupted
    from avsync.distill.run import start

    try:
        result = start(recipe, **options)
    except Interrupted as stopped:
        return fail(str(stopped), stopped.exit_code)
    if result is not None:
        emit(f"{result}\n")
    return 0
