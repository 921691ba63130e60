"""Parse, one library call, print, exit code."""

import os

from avsync.cli.exit_guard import end_with
from avsync.core.errors import EXIT_ERROR


def main() -> None:
    """Entry point of the command `avsync`. A failure, also while importing, never ends as 1."""
    end_with(EXIT_ERROR)
    # OpenCV reads this as it loads. Its images here are small, so more than four threads only wait.
    os.environ.setdefault(
        "OPENCV_FOR_THREADS_NUM", os.environ.get("OMP_NUM_THREADS") or str(min(4, _cores()))
    )
    from avsync.cli.app import main as command

    try:
        command()
    except SystemExit as end:
        end_with(end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0)
        raise


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
