"""Lists of files to check: a text file with a path on each line, or a CSV file with a column of paths."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from avsync.core.constants import VIDEO_SUFFIXES
from avsync.core.errors import MediaError

SUFFIXES = (".csv", ".lst", ".txt")
"""Suffixes that mark a file on the command line as a list of videos rather than a video."""
COLUMNS = ("path", "file", "filename", "video")
"""Names for the column of paths in a CSV file, in order of preference."""


def is_manifest(path: Path) -> bool:
    """Whether `path` is a list of videos, by its suffix."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def listed(path: Path) -> list[Path]:
    """The paths in a list, in its order: relative to the list's own folder or, if nothing is there, to the
    current one. Empty lines and lines that begin with # are skipped.

    Raises MediaError when the list cannot be read, has no column of paths, or names nothing that exists.
    """
    try:
        # File names are bytes; those that are not valid text must survive unchanged.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise MediaError(f"The list {path} cannot be read: {error.strerror}.") from error
    entries = _column(path, text) if path.suffix.lower() == ".csv" else text.split("\n")
    named = [line.strip() for line in entries]
    found = [_placed(line, path.parent) for line in named if line and not line.startswith("#")]
    if not any(map(_exists, found)):
        raise MediaError(f"{path} names no file that exists; a list has the path of a video on each line.")
    return found


def _column(path: Path, text: str) -> list[str]:
    """The column of paths of a CSV file that is separated by commas, semicolons or tabs."""
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        column = next((names[name] for name in COLUMNS if name in names), None)
        if column is None:
            raise MediaError(
                f"{path} has no column {COLUMNS[0]!r} in its first line; give the column of paths that name."
            )
        return [row[column] or "" for row in rows]
    except csv.Error as error:
        raise MediaError(f"{path} is not a CSV file: {error}.") from error


def _placed(line: str, folder: Path) -> Path:
    beside = folder / line
    return beside if _exists(beside) or not _exists(Path(line)) else Path(line)


def _exists(path: Path) -> bool:
    # Path.exists raises OSError for a name that is too long.
    return os.path.exists(path)  # noqa: PTH110


def find_media(paths: Sequence[Path]) -> list[Path]:
    """Files to check: each path itself, the files that a list names, and the videos below a folder, sorted,
    without hidden files and duplicates. A folder that holds no videos, or cannot be read, stays in the list,
    so that it is reported.

    Raises MediaError if only folders were given and they hold no video at all.
    """
    found: dict[Path, None] = {}
    for path in chain.from_iterable(listed(path) if is_manifest(path) else [path] for path in paths):
        inside = sorted(_videos(path)) if _exists(path) and path.is_dir() else []
        found |= dict.fromkeys(inside or [path])
    files = list(found)
    if files and all(_exists(file) and file.is_dir() for file in files):
        raise MediaError(" ".join(map(_no_video, files)))
    return files


def _no_video(folder: Path) -> str:
    """The error message for a folder without videos."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return f"The folder {folder} cannot be searched: {error.strerror}."
    return f"No video file was found in {folder}."


def videos_below(folder: Path) -> Iterator[Path]:
    """The videos below a folder, in no particular order, without hidden ones."""
    return (path for path in _videos(folder) if path.suffix.lower() in VIDEO_SUFFIXES)


def _videos(folder: Path) -> Iterator[Path]:
    closed: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield Path(root, name)
    yield from closed
