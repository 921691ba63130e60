"""Result files: written whole or not at all, and never over a file of another kind."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from avsync.core.draft import FULL, Draft, draft
from avsync.core.errors import OutputError, UsageError

YAML_BYTES = 1 << 18
"""More than any card has; parsing YAML is slow."""
HEAD_BYTES = 1 << 16
"""How much of a file is read to tell whether it is an older result."""


@dataclass(frozen=True)
class Kind:
    """A kind of result: what a user calls it, and whether a file that begins with these bytes is one."""

    name: str
    is_own: Callable[[bytes], bool]


@contextmanager
def replacement(target: Path) -> Iterator[Draft]:
    """A draft of `target` with the permissions of the file there, or of a new file where there is none."""
    rights = target.stat().st_mode & 0o777 if target.exists() else None
    with draft(target, 0o666 if rights is None else rights) as made:
        if rights is not None and hasattr(os, "fchmod"):  # the umask is for new files
            os.fchmod(made.handle, rights | stat.S_IRUSR | stat.S_IWUSR)
        yield made


@contextmanager
def replacing(path: Path, what: str = "") -> Iterator[IO[bytes]]:
    """A stream whose content replaces `path` once the block has ended without an error; until then the old
    file stays, and its permissions are kept. Its folder is made. A link stays a link; a device or pipe gets
    the bytes as they come.

    Raises:
        OutputError: it cannot be written; `what` names the result in the message.
    """
    try:
        if takes_bytes(path):
            with path.open("wb") as stream:
                yield stream
            return
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacement(target) as made:
            with open(made.handle, "wb", closefd=False) as stream:
                yield stream
            made.publish(replace=True)
    except OSError as error:
        named = f"{what} {path}" if what else str(path)
        raise OutputError(f"Cannot write {named}: {error.strerror or error}.") from error


def write_whole(path: Path, content: bytes, *, what: str = "") -> Path:
    """Write `content` to `path`; see `replacing`."""
    with replacing(path, what) as stream:
        stream.write(content)
    return path


def takes_bytes(path: Path) -> bool:
    """Whether `path` is a device or a pipe, which a file must not replace."""
    return path.exists() and not path.is_file() and not path.is_dir()


def make_folder(folder: Path) -> None:
    """Make a folder for results, and its parents, unless it exists. Raises OutputError where it cannot be
    made or written to, so that this is known before the work."""
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Results cannot go into the folder {folder}: {error.strerror or error}."
        ) from error


def ready(path: Path, kind: Kind, option: str) -> None:
    """`protect` the target of `option` and make its folder. Raises UsageError where it is a folder."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for {option}.")
    protect(path, kind, option)
    if not takes_bytes(path):
        make_folder(path.parent)


def protect(path: Path, kind: Kind, option: str) -> None:
    """Raises UsageError where `path` is a file that is neither empty nor of this kind, so that only older
    results are overwritten."""
    try:
        # Devices and pipes have no beginning to look at, and reading one may wait for ever.
        if not path.is_file():
            return
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
    if head and not kind.is_own(head):
        what = f"{'an' if kind.name[0] in 'aeiou' else 'a'} {kind.name}"
        raise UsageError(
            f"{path} exists and is not {what} written by avsync; name another file for {option}."
        )


def read_yaml(path: Path, most_bytes: int = YAML_BYTES) -> Any:
    """The content of a YAML file from an untrusted source.

    Raises:
        ValueError: it cannot be read, is not YAML, is nested too deeply, or has aliases, by which a kilobyte
            can expand to gigabytes.
    """
    import yaml

    try:
        if path.stat().st_size > most_bytes:
            raise ValueError(f"it is larger than {most_bytes} bytes")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("it has aliases")
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {getattr(error, 'problem', None)})" if mark else ""
        raise ValueError(f"it is not YAML{where}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it cannot be read, is not JSON, or is nested too deeply.
    """
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except ValueError as error:  # no text, no JSON, or a number of thousands of digits
        raise ValueError("it is not JSON") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def disk_errors(folder: Path, then: str) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence that ends in `then`, the consequence."""
    try:
        yield
    except (OSError, RuntimeError, OutputError) as failure:
        error = failure.__cause__ if isinstance(failure, OutputError) else failure
        # torch's zip writer reports a failed write as a RuntimeError without an errno.
        if isinstance(error, RuntimeError) and "writ" not in str(error):
            raise
        full = not isinstance(error, OSError) or error.errno in FULL
        why = f"The disk of {folder} is full" if full else f"{folder} cannot be written ({error})"
        raise OutputError(f"{why}, so {then}.") from error


def cannot_store(what: str, error: OSError) -> OutputError:
    """The error of a temporary file that could not be written."""
    folder = tempfile.gettempdir()
    return OutputError(
        f"Could not store {what} in {folder} ({error.strerror or error}); free some space there, "
        "or set TMPDIR to another folder."
    )
