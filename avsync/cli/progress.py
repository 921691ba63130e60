"""Progress bars on stderr that name the stages of a file in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from avsync.core.text import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

STAGES = {
    "probe": "reading the file",
    "model": "loading the model",
    "download": "downloading",
    "audio": "reading the audio",
    "faces": "finding faces",
    "scores": "comparing lips and speech",
    "survey": "comparing lips and speech",
    "overlay": "drawing the overlay",
    "fix": "writing the repaired file",
    "demo": "drawing the demo clip",
}
"""The words for each stage of a file."""
SPEED_S = 900.0
"""Seconds of work from which the remaining time is estimated; a file of a batch may take minutes."""

Bar = Callable[[str, str, float, float | None], None]
"""show(key, words, done, total): `total` is None if unknown."""


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Bar]:
    """Live bars with the remaining time on stderr; nothing if stderr is not a terminal.

    Yields show(key, words, done, total): one bar per key, which restarts when its words change and disappears
    at done == total.
    """
    if quiet:
        yield _nothing
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _nothing
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # Results are printed above the bars if both share a terminal, and go unchanged into a pipe or file.
    together = sys.stdout.isatty()
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=together,
        redirect_stderr=False,
        speed_estimate_period=SPEED_S,
    ) as bars:
        tasks: dict[str, tuple[TaskID, str]] = {}

        def show(key: str, words: str, done: float, total: float | None) -> None:
            task, before = tasks.get(key, (None, ""))
            if task is None or before != words:
                if task is not None:
                    bars.remove_task(task)
                task = bars.add_task(escape(printable(words)), total=total)
                tasks[key] = (task, words)
            bars.update(task, completed=done, total=total)
            if total is not None and done >= total:
                bars.remove_task(task)
                del tasks[key]

        yield show


def _nothing(key: str, words: str, done: float, total: float | None) -> None:
    """A bar that is not shown."""


def staged(bar: Bar) -> Callable[[str, float, float | None], None]:
    """A bar that shows the stages of one file in words."""
    return lambda stage, done, total: bar("", STAGES.get(stage, stage), done, total)
