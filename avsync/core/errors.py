"""Errors that are part of the interface: one sentence that says what happened, to which file, and what to do.
The command line prints the sentence and exits with `exit_code`.

    AvsyncError            4   the base; catch it to catch every error raised on purpose
      UsageError           2   the request is wrong: an option, a target that is the source or exists already
        OptionError        2   one option cannot have its value
      MediaError           4   a media file cannot be read or decoded, or its copy would differ from it
      ModelError           4   a checkpoint is missing, damaged or of the wrong shape, or cannot be downloaded
      SetupError           4   something avsync needs is not installed or too old: ffmpeg, OpenCV, Ray
      OutputError          4   a result cannot be written: the disk is full, the folder is read-only
      CannotTell           3   the file is fine, but its synchrony cannot be judged, or not be repaired
    Interrupted                a KeyboardInterrupt that carries what was done by then
"""

from __future__ import annotations

from typing import Any

EXIT_IN_SYNC = 0
EXIT_OUT_OF_SYNC = 1
EXIT_USAGE = 2
EXIT_CANNOT_TELL = 3
EXIT_ERROR = 4
EXIT_INTERRUPTED = 130


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
    """A media file cannot be read or decoded, or a copy of it would differ from it."""


class ModelError(AvsyncError):
    """A checkpoint is missing, damaged, or of the wrong shape; or a network file cannot be fetched."""


class SetupError(AvsyncError):
    """Something that avsync needs is not installed, or is too old: ffmpeg, OpenCV, Ray."""


class OutputError(AvsyncError):
    """A result cannot be written: the disk is full, or the folder is read-only."""


class CannotTell(AvsyncError):  # noqa: N818 - an answer rather than a failure
    """The file is fine, but nothing in it shows its synchrony (no face, no speech)."""

    exit_code = EXIT_CANNOT_TELL


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a long call; `so_far` is what it had produced by then."""

    def __init__(self, so_far: Any) -> None:
        super().__init__()
        self.so_far = so_far


LACKS_MEMORY = (
    "There is not enough memory for this file; close other programs, use fewer --workers, or allow it more "
    "with --file-memory."
)
NO_MEMORY = ("allocate memory", "enough memory", "out of memory", "insufficient memory", "bad_alloc")
NO_MEMORY += ("resource temporarily unavailable",)  # for the stack of another thread
NO_MEMORY += ("failed to map segment",)  # for the code of a library that is imported
"""How torch, OpenCV, FFmpeg and the C library word running out of memory."""


def out_of_memory(error: Exception | str) -> bool:
    """Whether an error, or what was said of one, means that memory ran out, whichever library raised it."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY)


def told(error: AvsyncError) -> str:
    """The sentence of an error; where it was caused by memory running out, that, since the file may be fine.
    What is wrong with the usage stays so: the system words a lock that another run holds as it does a lack of
    memory."""
    cause = None if isinstance(error, UsageError) else error.__cause__
    while cause is not None:
        if isinstance(cause, Exception) and out_of_memory(cause):
            return LACKS_MEMORY
        cause = cause.__cause__
    return str(error)


def unexpected(error: Exception) -> str:
    """One sentence for an error that avsync did not foresee."""
    if out_of_memory(error):
        return LACKS_MEMORY
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    detail = " ".join(str(error).split())[:300]
    bug = f"This is a bug in avsync ({type(error).__name__}: {detail})"
    return f"{bug}; run it again with AVSYNC_DEBUG=1 and report it."
