"""Checks of what is not a media file with a name: a stream, an address of the web, a playlist, or arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from avsync.core.errors import AvsyncError, Interrupted
from avsync.core.options import CheckOptions
from avsync.core.report import Report
from avsync.core.streams import Recording
from avsync.media.elsewhere import spooled
from avsync.media.playlist import gathered, is_playlist
from avsync.pipeline import run
from avsync.pipeline.run import Progress

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded

Source = str | Path | IO[bytes] | Recording
"""What `check` takes: the path of a file, a file object opened for reading bytes, or arrays."""


def measure_source(
    source: Source,
    options: CheckOptions,
    progress: Progress | None = None,
    loaded: Loaded | None = None,
) -> Report:
    """`measure` of any source; the same errors."""
    if isinstance(source, Recording):
        return run.measure(source, options, progress, loaded)
    if not hasattr(source, "read"):
        return measure_file(Path(source), options, progress, loaded)  # pyright: ignore[reportArgumentType]
    stream: Any = source
    called = getattr(stream, "name", None)
    name = called if isinstance(called, str) else "file object"
    with spooled(stream, name) as path, named(path, name) as renamed:
        return renamed(run.measure(path, options, progress, loaded))


def measure_file(
    path: Path, options: CheckOptions, progress: Progress | None = None, loaded: Loaded | None = None
) -> Report:
    """`measure` of a file, or of the media that it names, where it is a playlist and those are allowed."""
    if not (options.allow_playlists and is_playlist(path)):
        return run.measure(path, options, progress, loaded)
    with gathered(path) as media, named(media, str(path), gathered=True) as renamed:
        return renamed(run.measure(media, options, progress, loaded))


@contextmanager
def named(path: Path, name: str, *, gathered: bool = False) -> Iterator[Callable[[Report], Report]]:
    """Lets errors of the block, and the reports given to the function, call the temporary file `path` by its
    `name`. What was `gathered` from several files has no places in bytes that mean anything to the user."""

    left_out = ("cut_at_bytes", "in_place") if gathered else ()

    def words(value: Any) -> Any:
        return value.replace(str(path), name) if isinstance(value, str) else value

    def renamed(report: Report) -> Report:
        reasons = tuple(
            replace(
                reason,
                values={key: words(value) for key, value in reason.values.items() if key not in left_out},
            )
            for reason in report.reasons
        )
        return replace(report, path=name, reasons=reasons)

    try:
        yield renamed
    except AvsyncError as error:
        error.args = tuple(map(words, error.args))
        raise
    except Interrupted as stop:
        stop.so_far = renamed(stop.so_far)
        raise
