"""Results in files: written whole or not at all, and never over a file of another kind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from avsync.errors import MediaError, UsageError


def write_whole(path: Path, content: bytes, *, what: str = "") -> Path:
    """Put `content` into `path`, and make its folder; until all is written, what was there stays.

    `what` names the result in the MediaError that is raised when it cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".avsync-", suffix=path.suffix, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        named = f"{what} {path}" if what else str(path)
        raise MediaError(f"Cannot write {named}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def protect(path: Path, begins: bytes, kind: str, option: str) -> None:
    """Raises UsageError where a file is at `path` that does not begin with the byte `begins`: overwriting it
    would destroy something else than an older result."""
    try:
        # Devices and pipes have no beginning to look at, and reading one may wait for ever.
        if not path.is_file():
            return
        with path.open("rb") as stream:
            first = stream.read(1)
    except OSError as error:
        raise MediaError(f"Cannot write {path}: {error.strerror}.") from error
    if first not in (b"", begins):
        raise UsageError(f"{path} exists and is no {kind} file; name another file for {option}.")
