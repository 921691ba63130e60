"""The command `avsync` and its subcommands: parse, one library call, print, exit code.

Modules that need torch or OpenCV are imported inside the commands, so that `avsync --help` is fast.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from avsync import __version__
from avsync.cli.bench import app as bench_app
from avsync.cli.check import check
from avsync.cli.console import emit, fail, outcome, usage_words
from avsync.cli.curate import curate
from avsync.cli.demo import demo
from avsync.cli.distill import app as distill_app
from avsync.cli.fix import fix_offset
from avsync.cli.models import app as models_app
from avsync.cli.monitor import monitor
from avsync.cli.signals import end_by_exceptions
from avsync.cli.train import train
from avsync.core.errors import EXIT_IN_SYNC, EXIT_USAGE


class Sentences(TyperGroup):
    """A command group that reports wrong usage as one sentence on stderr, like every other error."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        try:
            code = super().main(*args, standalone_mode=False, **options)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            code = EXIT_USAGE
            if words := usage_words(error):  # no message: the help was printed already
                fail(words, code)
        if standalone_mode:
            sys.exit(code or EXIT_IN_SYNC)
        return code


app = typer.Typer(
    cls=Sentences,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (check, fix_offset, demo, curate, monitor):
    app.command()(command)
app.add_typer(models_app, name="models")
app.add_typer(distill_app, name="distill")
app.command()(train)
app.add_typer(bench_app, name="bench")


def _version(asked: bool) -> None:
    if asked:
        emit(f"avsync {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tell whether the lips in a video match its speech, by how many
    milliseconds, and repair it.

    [bold]Examples[/bold]
    avsync check talk.mp4
    avsync fix-offset talk.mp4 fixed.mp4
    avsync demo
    """


def main() -> None:
    """Entry point of the command `avsync`."""
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal's encoding lacks are escaped instead of raising an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_by_exceptions()
    try:
        sys.exit(outcome(lambda: app(prog_name="avsync")))
    except SystemExit as end:
        if isinstance(
            end.__context__, BrokenPipeError
        ):  # `avsync --help | head -1`; 1 would be "out of sync"
            sys.exit(EXIT_IN_SYNC)
        raise
