"""Results in files: written whole or not at all, and never over a file of another kind."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avsync.core.errors import MediaError, UsageError


def write_whole(path: Path, content: bytes, *, what: str = "") -> Path:
    """Put `content` into `path`, and make its folder; until all is written, what was there stays. A link
    stays a link, and a device or pipe gets the bytes as they come.

    `what` names the result in the MediaError that is raised when it cannot be written.
    """
    temporary = None
    try:
        if _takes_bytes(path):
            path.write_bytes(content)
            return path
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".avsync-", suffix=path.suffix, dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        named = f"{what} {path}" if what else str(path)
        raise MediaError(f"Cannot write {named}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def _takes_bytes(path: Path) -> bool:
    """Whether a device or a pipe is at `path`; a file that took its name would destroy it."""
    return path.exists() and not path.is_file() and not path.is_dir()


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it, unless it is there. Raises MediaError where it
    cannot be made, or takes no files, so that this is told before the work whose result would go there."""
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MediaError(f"Results cannot go into the folder {folder}: {error.strerror or error}.") from error


def ready(path: Path, begins: bytes, kind: str, option: str) -> None:
    """`protect` a target that `option` names, and make its folder. Raises UsageError where it is a folder."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for {option}.")
    protect(path, begins, kind, option)
    if not _takes_bytes(path):
        make_folder(path.parent)


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


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(folder: Path, then: str, draft: Path | None = None) -> Iterator[None]:
    """Turn a full or closed disk into one sentence that ends with what follows, and remove the
    half-written `draft`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch's zip writer reports a failed write as a RuntimeError without an errno.
        if isinstance(error, RuntimeError) and "writ" not in str(error):
            raise
        if draft is not None:
            draft.unlink(missing_ok=True)
        full = not isinstance(error, OSError) or error.errno in FULL
        why = f"The disk of {folder} is full" if full else f"{folder} cannot be written ({error})"
        raise MediaError(f"{why}, so {then}.") from error
