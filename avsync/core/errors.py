"""Errors that are part of the interface: one sentence that says what happened, to which file,
and what to do. The command line prints the sentence and exits with `exit_code`."""

from __future__ import annotations

from typing import Any

EXIT_IN_SYNC = 0
EXIT_OUT_OF_SYNC = 1
EXIT_USAGE = 2
EXIT_CANNOT_TELL = 3
EXIT_ERROR = 4


class AvsyncError(Exception):
    """Base of every error that avsync raises on purpose."""

    exit_code = EXIT_ERROR


class UsageError(AvsyncError):
    """The request itself is wrong: a bad option, input equal to output, an existing target."""

    exit_code = EXIT_USAGE


class OptionError(UsageError):
    """An option cannot have its value. `option` is its keyword in Python, with which the sentence begins."""

    def __init__(self, option: str, wrong: str) -> None:
        super().__init__(option, wrong)
        self.option = option
        self.wrong = wrong

    def __str__(self) -> str:
        return f"{self.option} {self.wrong}"


class MediaError(AvsyncError):
    """A file cannot be read, decoded or written."""


class ModelError(AvsyncError):
    """A checkpoint is missing, damaged, or of the wrong shape; or a network file cannot be fetched."""


class CannotTell(AvsyncError):  # noqa: N818 - an answer rather than a failure
    """The file is fine, but holds nothing that synchrony could be judged by (no face, no speech)."""

    exit_code = EXIT_CANNOT_TELL


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a work; `so_far` is what it had come to."""

    def __init__(self, so_far: Any) -> None:
        super().__init__()
        self.so_far = so_far


def unexpected(error: Exception) -> str:
    """One sentence for an error that avsync did not foresee."""
    if isinstance(error, MemoryError):
        return "There is not enough memory for this file; close other programs or use fewer --workers."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    detail = " ".join(str(error).split())[:300]
    bug = f"This is a bug in avsync ({type(error).__name__}: {detail})"
    return f"{bug}; run it again with AVSYNC_DEBUG=1 and report it."
