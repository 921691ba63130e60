"""Parse, one library call, print, exit code."""

import gc
import os
import sys

from avsync.cli.exit_guard import in_child
from avsync.core import resident
from avsync.core.errors import EXIT_ERROR, EXIT_INTERRUPTED

GARBAGE_OBJECTS = 50_000
"""New objects after which Python looks for cycles among them: by default, every 700, it goes through all that
PyTorch brings again and again, which took a thirtieth of a check."""


def main() -> None:
    """Entry point of the command `avsync`. A failure, also while importing, never ends as 1."""
    sys.exit(in_child(_command))


def _command() -> int:
    resident.share_heap()
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
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0
    except KeyboardInterrupt:  # while importing
        return EXIT_INTERRUPTED
    finally:
        gc.freeze()  # or Python, as it ends, looks for cycles among all that was imported: 0.1 seconds
