"""Parse, one library call, print, exit code."""

from avsync.cli.app import main

__all__ = ["main"]
