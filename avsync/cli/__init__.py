"""Parse, one library call, print, exit code."""

import gc
import os
import sys
from contextlib import suppress

from avsync.cli.exit_guard import in_child
from avsync.core.errors import EXIT_ERROR, EXIT_INTERRUPTED

GARBAGE_OBJECTS = 50_000
"""New objects after which Python looks for cycles among them: by default, every 700, it goes through all that
PyTorch brings again and again, which took a thirtieth of a check."""


def main() -> None:
    """Entry point of the command `avsync`. A failure, also while importing, never ends as 1."""
    sys.exit(in_child(_command))


def _command() -> int:
    _share_memory()
    gc.set_threshold(GARBAGE_OBJECTS)
    # torch's threads read this as it loads. Its steps here are short, and threads that spin between them take
    # the processor from the decoder: on a busy machine a check took three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # PyTorch's convolutions keep what they prepared for each shape of input, and every length of a face is
    # another: by default 1024 of them, which grew to 90 MB over a long film.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    # NumPy's and OpenCV's read these as they load. Their work here comes in steps of a millisecond beside
    # decoding, and threads that wait for the next one spin: an eighth of the time of a check.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    try:
        from avsync.cli.app import main as command

        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0
    except KeyboardInterrupt:  # while importing
        return EXIT_INTERRUPTED
    return 0


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Numbers of glibc's malloc.h."""
ARENAS = 1
FRAME_BYTES = 1_000_000
TRIMMED_BYTES = 16_000_000
"""Free memory at the end of the heap that is kept: to give it back and fetch it anew costs a page fault for
every 4 kB."""


def _share_memory() -> None:
    """Where the C library is glibc, threads share ARENAS heaps instead of having one each, whose freed memory
    no other thread can use; and what is as large as a frame is given back when it is freed."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(M_ARENA_MAX, ARENAS)
            libc.mallopt(M_MMAP_THRESHOLD, FRAME_BYTES)
            libc.mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES)
