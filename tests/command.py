"""Runs the command inside the test's own process."""

from typer.testing import CliRunner, Result

from avsync.cli import app


def run(*arguments: object) -> Result:
    """What `avsync ARGUMENTS` prints, and its exit code."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
