"""Options and output that the subcommands of `avsync bench` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.cli.console import console, emit
from avsync.core import constants
from avsync.core.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

PIPE_WIDTH = 150
"""Width in columns of tables written to a file or a pipe."""

Models = Annotated[
    str,
    typer.Option("--models", metavar="LIST", help="Names, paths or NAME=PATH, comma-separated, or all."),
]
Model = Annotated[str, typer.Option(metavar="NAME", help="Name of a model or path of a checkpoint.")]
Device = Annotated[constants.Device, typer.Option(help="Where the models run.")]
Runs = Annotated[int, typer.Option(min=1, help="Timed runs; the median counts.")]
Plot = Annotated[Path | None, typer.Option(metavar="DIR", help="Draw figures (.png) into this folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(**parts: Any) -> None:
    """Print the results of a benchmark as one JSON document."""
    emit(json.dumps({"schema": 1, **parts}, indent=2) + "\n")


def print_tables(*parts: Table | str) -> None:
    """Print tables and sentences; a closed pipe is not an error."""
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, PIPE_WIDTH)
    with out.capture() as capture:
        for part in parts:
            out.print(part, highlight=False, soft_wrap=isinstance(part, str))
    emit(capture.get())


def check_figure_folder(plot: Path | None) -> None:
    """Raises UsageError, before hours of work, if `plot` is not a folder."""
    if plot is not None and plot.exists() and not plot.is_dir():
        raise UsageError(f"{plot} is not a folder; give one to --plot.")


def draw(document: dict[str, Any], plot: Path | None) -> list[str]:
    """Draw the results in `document` into the folder `plot` (None: nothing); returns the paths of the
    figures."""
    if plot is None:
        return []
    from avsync.bench.figures import save_figures

    return [str(path) for path in save_figures(document, plot)]


def print_results(
    document: dict[str, Any], tables: Sequence[Table | str], plot: Path | None = None, *, as_json: bool
) -> None:
    """Draw the results in `document` into the folder `plot`, and print them as JSON or as tables."""
    figures = draw(document, plot)
    if as_json:
        print_json(**document, **({"figures": figures} if plot else {}))
    else:
        print_tables(*tables)
        print_drawn(figures)


def print_drawn(figures: list[str]) -> None:
    """Print which figures were drawn."""
    emit("".join(f"Drew {path}\n" for path in figures))
