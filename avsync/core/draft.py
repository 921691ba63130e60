"""A result while it is being written: a file without a name until it is complete, so that even kill -9 leaves
nothing behind.

Where a file system has no nameless files (network shares, exFAT, macOS), the draft has a hidden name and is
locked while it is written; unlocked drafts are removed when the next one is made in that folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from avsync.core.errors import OutputError, UsageError

try:
    import fcntl
except ImportError:  # On Windows stale drafts stay: nothing shows whether they are in use.
    fcntl = None

NAMELESS = getattr(os, "O_TMPFILE", 0)
RENAMES_OPEN = os.name != "nt"
"""Whether a file that is open can be given another name, or replaced."""
NOT_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""Error numbers of file systems and kernels without nameless files."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a disk that takes no more."""
HIDDEN = re.compile(r"\.avsync-[0-9a-f]{16}\.part")
PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class Draft:
    """An open file that will become `target`, with permissions of at most `mode`. `path` opens it in this
    process and its children."""

    target: Path
    path: Path
    handle: int
    mode: int
    nameless: bool

    def publish(self, *, replace: bool) -> None:
        """Give the file its name.

        Raises:
            UsageError: without `replace`, something of that name has appeared since; it stays.
            OutputError: the folder does not accept the file.
        """
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(self.handle, os.fstat(self.handle).st_mode & self.mode)
            if not replace:
                self._link(self.target)
            elif self.nameless:
                hidden = _hidden(self.target.parent)
                self._link(hidden)
                try:
                    hidden.replace(self.target)
                finally:
                    hidden.unlink(missing_ok=True)
            else:
                self._rename(self.target)
        except FileExistsError as error:
            raise UsageError(
                f"{self.target} appeared while it was being made, and is left as it is; use --force to "
                "replace it, or give another name."
            ) from error
        except OSError as error:
            raise unwritable(self.target, error) from error

    def _link(self, name: Path) -> None:
        """Raises FileExistsError where the name is taken by now."""
        if self.nameless:
            folder = os.open(name.parent, os.O_RDONLY)
            try:
                # Only with a folder given does Python follow the link in /proc, which alone names the file.
                os.link(self.path, name.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)
            return
        try:
            name.hardlink_to(self.path)
        except FileExistsError:
            raise
        except OSError:  # exFAT has no links, so an empty file takes the name first
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            self._rename(name)

    def _rename(self, name: Path) -> None:
        if RENAMES_OPEN:
            self.path.replace(name)
            return
        _reopen(self.handle, os.devnull)  # which keeps the number from anybody else
        self.path.replace(name)
        _reopen(self.handle, name)
        os.lseek(self.handle, 0, os.SEEK_END)

    def no_room(self) -> OSError | None:
        """Why the file cannot grow, or None where it can: programs that write to it report that in many
        ways."""
        size = os.fstat(self.handle).st_size
        if not hasattr(os, "posix_fallocate"):
            return None
        try:
            os.posix_fallocate(self.handle, size, PROBE_BYTES)
        except OSError as error:
            return error if error.errno in FULL else None
        os.ftruncate(self.handle, size)
        return None


@contextmanager
def draft(target: Path, mode: int = 0o666) -> Iterator[Draft]:
    """A draft of `target` in its folder; unless published, it is gone when the block ends.

    It has the permissions of a new file: `mode` less the umask.

    Raises:
        OutputError: the folder does not accept a file.
    """
    target = target.absolute()
    try:
        sweep(target.parent)
        made = _nameless(target, mode) or _named(target, mode)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        yield made
    finally:
        os.close(made.handle)
        if not made.nameless:
            with contextlib.suppress(OSError):
                made.path.unlink(missing_ok=True)


@contextmanager
def scratch() -> Iterator[tuple[IO[bytes], Path]]:
    """A temporary file that is gone when the block ends, also after kill -9; and a path by which this process
    and its children open it."""
    if NAMELESS:
        with tempfile.TemporaryFile() as file:
            path = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            if path.exists():
                yield file, path
                return
    # On Windows a file that is deleted on closing cannot be opened a second time.
    with tempfile.NamedTemporaryFile(prefix="avsync-", delete=RENAMES_OPEN) as file:
        try:
            yield file, Path(file.name)
        finally:
            if not RENAMES_OPEN:
                file.close()
                Path(file.name).unlink(missing_ok=True)


def unwritable(target: Path, error: OSError | str) -> OutputError:
    """The error that says why `target` cannot be written."""
    why = error if isinstance(error, str) else error.strerror or str(error)
    return OutputError(
        f"{target} cannot be written ({why}); free some space, change its permissions, or choose another "
        "place."
    )


def sweep(folder: Path) -> None:
    """Remove drafts in `folder` whose writers were killed."""
    if fcntl is None:
        return
    for name in filter(HIDDEN.fullmatch, os.listdir(folder)):  # noqa: PTH208 - only names are needed
        with contextlib.suppress(OSError), (folder / name).open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / name).unlink()


def _nameless(target: Path, mode: int) -> Draft | None:
    if not NAMELESS:
        return None
    try:
        handle = os.open(target.parent, NAMELESS | os.O_RDWR, mode | 0o600)
    except OSError as error:
        if error.errno in NOT_NAMELESS:
            return None
        raise
    path = Path(f"/proc/{os.getpid()}/fd/{handle}")
    if not path.exists():
        os.close(handle)
        return None
    _lock(handle)
    return Draft(target, path, handle, mode, nameless=True)


def _named(target: Path, mode: int) -> Draft:
    while True:
        path = _hidden(target.parent)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), mode | 0o600)
        # A sweeper that came between the two has removed it.
        if _lock(handle) and os.fstat(handle).st_nlink:
            return Draft(target, path, handle, mode, nameless=False)
        os.close(handle)


def _reopen(handle: int, path: str | Path) -> None:
    """Let an open file's number stand for another file, without a moment at which it is free."""
    other = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    os.dup2(other, handle)
    os.close(other)


def _lock(handle: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks; sweepers cannot lock there either
        pass
    return True


def _hidden(folder: Path) -> Path:
    return folder / f".avsync-{secrets.token_hex(8)}.part"
