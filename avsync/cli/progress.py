"""How far a command is: bars on stderr, which name the stages of a file in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from avsync.core.text import printable

STAGES = {
    "probe": "reading the file",
    "model": "loading the model",
    "download": "downloading",
    "audio": "reading the audio",
    "faces": "finding faces",
    "scores": "comparing lips and speech",
    "survey": "comparing lips and speech",
    "fix": "writing the repaired file",
    "demo": "drawing the demo clip",
}
"""What a person reads for each stage of one file."""
SPEED_S = 900.0
"""Seconds of work that the time left is estimated from: a file of a batch may take minutes."""

Bar = Callable[[str, str, float, float | None], None]
"""show(key, words, done, total): `total` is None where it is not known."""


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Bar]:
    """Live bars with the time left on stderr, nothing where stderr is not a terminal.

    Yields show(key, words, done, total): one bar per key, which starts anew when its words change and goes
    away at done == total.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # Results go above the bars where both share a terminal, and untouched into a pipe or file.
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


def staged(bar: Bar) -> Callable[[str, float, float | None], None]:
    """A bar that shows the stages of one file in words."""
    return lambda stage, done, total: bar("", STAGES.get(stage, stage), done, total)
