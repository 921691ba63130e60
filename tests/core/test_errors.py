"""When memory runs out, the error says so instead of blaming the file."""

import errno
import os

import av.error
import pytest

import avsync
from avsync.core import errors
from avsync.core.errors import LACKS_MEMORY, MediaError, UsageError, out_of_memory, told, unexpected


def caused_by(cause: BaseException) -> MediaError:
    try:
        raise MediaError("a.mkv is not a video or audio file.") from cause
    except MediaError as error:
        return error


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        av.error.MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM), "a.mkv"),
        RuntimeError("std::bad_alloc"),
        ImportError("libavcodec.so.62: failed to map segment from shared object"),
        caused_by(MemoryError()),
    ],
)
def test_memory_that_ran_out_is_the_reason_whatever_was_said_of_the_file(cause: Exception):
    assert told(caused_by(cause)) == LACKS_MEMORY
    if not isinstance(cause, MediaError):
        assert unexpected(cause) == LACKS_MEMORY


def test_other_errors_say_what_they_say():
    error = caused_by(ValueError("no such box"))
    assert told(error) == str(error)
    assert told(MediaError("out of memory.mp4 does not exist.")) == "out of memory.mp4 does not exist."
    assert not out_of_memory("Invalid data found when processing input")


def test_a_lock_of_another_run_is_no_lack_of_memory():
    error = UsageError("Another run of avsync is writing to a.jsonl.")
    error.__cause__ = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    assert told(error) == str(error)


def test_every_error_is_a_name_of_the_package():
    defined = {name for name, kind in vars(errors).items() if isinstance(kind, type)} - {"Any"}
    assert defined == {
        name for name in avsync.__all__ if getattr(avsync, name) is getattr(errors, name, None)
    }
