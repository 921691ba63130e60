"""The command `avsync` and its subcommands: parse, one library call, print, exit code.

Each command is imported when it is asked for, and modules that need torch or OpenCV inside the commands, so
that `avsync --help` is fast.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from avsync import __version__
from avsync.cli.console import emit, fail, outcome, usage_words
from avsync.cli.signals import end_by_exceptions
from avsync.core.errors import EXIT_IN_SYNC, EXIT_USAGE

COMMANDS = {
    "check": "check:check",
    "fix-offset": "fix:fix_offset",
    "demo": "demo:demo",
    "curate": "curate:curate",
    "monitor": "monitor:monitor",
    "train": "train:train",
    "models": "models:app",
    "distill": "distill:app",
    "bench": "bench:app",
}
"""By the name of a command, in the order of the help, its module in this folder, and there its function or,
where it has commands of its own, their Typer."""


@cache
def _imported(name: str) -> Any:
    """The command of that name."""
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(f"avsync.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name)(found)
    return get_command(alone)


class Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is first asked for."""

    def __getitem__(self, name: str) -> Any:
        return _imported(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Sentences(TyperGroup):
    """The commands of `avsync`. Wrong usage is reported as one sentence on stderr, like every other error."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.commands = Commands()  # pyright: ignore[reportAttributeAccessIssue] - nobody adds to them

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
