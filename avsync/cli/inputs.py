"""Inputs that are not files: a web address, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from avsync.cli.batch_options import STDIN
from avsync.cli.progress import progress_bars, staged
from avsync.core.errors import UsageError
from avsync.core.report import Report
from avsync.media import elsewhere
from avsync.media.playlist import gathered, is_playlist
from avsync.pipeline.sources import named


@contextmanager
def as_files(
    paths: Sequence[Path | str], *, quiet: bool, allow_playlists: bool = False
) -> Iterator[tuple[list[Path], Callable[[Report], Report]]]:
    """The paths, or the one address or standard input as a temporary file while the block runs; and a
    function that gives a report the name that the user knows.

    Raises:
        UsageError: standard input is a terminal.
        MediaError: nothing comes from the address or from standard input.
    """
    files = [path for path in paths if isinstance(path, Path)]
    if len(files) == len(paths):
        yield files, lambda report: report
        return
    text, playlist = str(paths[0]), False
    with ExitStack() as stack:
        if text == STDIN:
            if sys.stdin.isatty():
                raise UsageError("Standard input is a terminal; pipe a video into it, or give a file.")
            name = "standard input"
            path = stack.enter_context(elsewhere.spooled(sys.stdin.buffer, name))
        else:
            name = elsewhere.shown(text)
            with progress_bars(quiet=quiet) as bar:
                path = stack.enter_context(elsewhere.downloaded(text, staged(bar)))
                playlist = allow_playlists and is_playlist(path)
                if playlist:
                    path = stack.enter_context(gathered(text))
        yield [path], stack.enter_context(named(path, name, gathered=playlist))
