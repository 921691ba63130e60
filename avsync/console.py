"""How every command ends: results on stdout, one sentence on stderr for an error, and an exit code."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from avsync.errors import EXIT_ERROR, AvsyncError, unexpected

if TYPE_CHECKING:
    from rich.console import Console

EXIT_INTERRUPTED = 130

Command = Callable[..., int | None]


def guarded(command: Command) -> Callable[..., None]:
    """`command` with every way out turned into an exit code; it returns its own (None is 0).

    An error of avsync's is one sentence on stderr. Anything else is a bug and ends as 4, never as 1,
    which would read as "out of sync".
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            code = command(*args, **kwargs)
        except KeyboardInterrupt:
            code = fail("Stopped.", EXIT_INTERRUPTED)
        except AvsyncError as error:
            code = fail(str(error), error.exit_code)
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own: usage errors and Exit
                raise
            code = fail(unexpected(error), EXIT_ERROR)
        raise typer.Exit(code or 0)

    return run


def fail(sentence: str, code: int) -> int:
    """Say why on stderr, with the traceback when AVSYNC_DEBUG is set; returns `code`."""
    if os.environ.get("AVSYNC_DEBUG"):
        traceback.print_exc()
    print(f"avsync: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def emit(text: str) -> None:
    """Write a result to stdout; a reader that has gone (`| head`) is no error and keeps the exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console() -> Console:
    """The terminal or pipe that results go to."""
    from rich.console import Console

    return Console(file=sys.stdout)
