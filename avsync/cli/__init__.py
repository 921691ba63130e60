"""Parse, one library call, print, exit code."""

from avsync.cli.exit_guard import end_with
from avsync.core.errors import EXIT_ERROR


def main() -> None:
    """Entry point of the command `avsync`. Whatever goes wrong, while importing too, never ends as 1."""
    end_with(EXIT_ERROR)
    from avsync.cli.app import main as command

    try:
        command()
    except SystemExit as end:
        end_with(end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0)
        raise
