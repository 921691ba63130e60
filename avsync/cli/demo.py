"""`avsync demo`: check and repair a synthetic clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.check_options import with_check_options
from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet
from avsync.core.errors import EXIT_ERROR, EXIT_IN_SYNC
from avsync.core.options import CheckKeywords, check_options


@guarded
@with_check_options("model", "device")
def demo(
    check: CheckKeywords,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the two clips. Default: avsync-demo here; in avsync's own source tree, the "
            "user's cache.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Make a clip with a known offset, check it, repair it, check again.

    The exit code is 0 if the offset was found and repaired, else 4.

    [bold]Examples[/bold]
    avsync demo
    avsync demo --out demo/ --model student.safetensors
    """
    from avsync.cli.progress import progress_bars, staged
    from avsync.demo.run import run_demo
    from avsync.report.words import offset_words

    options = check_options(**check)
    with progress_bars(quiet=quiet) as bar:
        result = run_demo(
            out or default_folder(Path.cwd()), lambda words: emit(f"{words}\n"), options, staged(bar)
        )
    if result.agrees:
        found, made = offset_words(result.before.offset_ms), offset_words(result.offset_ms)
        emit(f"The known offset was found and repaired: made {made}, measured {found}.\n")
        return EXIT_IN_SYNC
    emit("The known offset was not found or not repaired; the model is not fit for use.\n")
    return EXIT_ERROR


def default_folder(here: Path) -> Path:
    """The folder for the clips, outside a checkout of avsync."""
    if any((folder / "avsync" / "demo" / "clip.py").is_file() for folder in (here, *here.parents)):
        from platformdirs import user_cache_path

        return user_cache_path("avsync") / "demo"
    return Path("avsync-demo")
