"""Defaults of a project: the options of a check in a file avsync.toml, in its folder or one above it."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from avsync.core.errors import UsageError
from avsync.core.options import CheckOptions

NAME = "avsync.toml"
MAX_BYTES = 1 << 16
SETTINGS = tuple(
    field.name for field in fields(CheckOptions) if field.name not in ("audio", "allow_playlists")
)
"""What the table [check] may set. A file that is merely found can start no program, write nothing, and let no
other file be read than those that were named."""
PATHS = ("profile", "model")
"""Settings that may be a path, which is then taken from the folder of the file."""


def find_config(folder: Path) -> Path | None:
    """The nearest avsync.toml in a folder or those above it."""
    folder = folder.resolve()
    return next((path for at in (folder, *folder.parents) if (path := at / NAME).is_file()), None)


def read_config(path: Path) -> dict[str, Any]:
    """Options of a check by name, as keywords of `check_options`.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES} bytes, so it is not a configuration.")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    table = content.pop("check", {})
    if content or not isinstance(table, dict):
        wrong = next(iter(content), "check")
        raise UsageError(f"{path} has no use for {wrong!r}; the options of a check go into a table [check].")
    if unknown := next((name for name in table if name not in SETTINGS), None):
        raise UsageError(f"{path} sets {unknown!r}; the settings are {', '.join(SETTINGS)}.")
    return {name: _value(name, value, path.parent) for name, value in table.items()}


def _value(name: str, value: Any, folder: Path) -> Any:
    if name == "tolerance_ms" and isinstance(value, list):
        return tuple(float(part) if isinstance(part, int) else part for part in value)
    if name in PATHS and isinstance(value, str) and (folder / value).is_file():
        return str(folder / value)
    return value
