"""`avsync demo`: what checking and fixing do, on a made clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet, with_check_options
from avsync.core.errors import EXIT_ERROR, EXIT_IN_SYNC
from avsync.core.options import CheckKeywords, check_options


@guarded
@with_check_options("model", "device")
def demo(
    check: CheckKeywords,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the two clips go.")] = Path(
        "avsync-demo"
    ),
    quiet: Quiet = False,
) -> int:
    """Write a clip of a talking face with a known error, check it, fix it, check it again.

    Exits with 0 when the error was found and mended, else with 4.

    [bold]Examples[/bold]
    avsync demo
    avsync demo --out /tmp/demo --model student.safetensors
    """
    from avsync.cli.progress import progress_bars, staged
    from avsync.demo.run import run_demo

    options = check_options(**check)
    with progress_bars(quiet=quiet) as bar:
        result = run_demo(out, lambda words: emit(f"{words}\n"), options, staged(bar))
    if result.agrees:
        emit("The known error was found and mended.\n")
        return EXIT_IN_SYNC
    emit("The known error was not found or not mended; the model is not fit for use.\n")
    return EXIT_ERROR
