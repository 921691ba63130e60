"""The ffmpeg program: where it is, how file names reach it, and its output as a stream."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import ffmpeg
import imageio_ffmpeg

from avsync.core.errors import MediaError

PIPE_BYTES = 1 << 20


def ffmpeg_path() -> str:
    """The ffmpeg program: the one on PATH, else the one that the package imageio-ffmpeg carries.

    Raises:
        MediaError: there is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MediaError(
            "No ffmpeg program was found; install ffmpeg, or the Python package imageio-ffmpeg."
        ) from error


def source(path: Path) -> str:
    """A file name as ffmpeg takes it literally, also when it starts with '-' or looks like a URL."""
    return f"file:{path.absolute()}"


@contextmanager
def decoding(output: Any) -> Iterator[tuple[IO[bytes], Callable[[], str]]]:
    """Run ffmpeg on an ffmpeg-python `output` that writes to `pipe:`; killed when the block is left.

    Yields:
        Its standard output, and a function that gives its complaint so far ("" if none), where the output has
        ended after waiting for the end of ffmpeg.
    """
    command = ffmpeg.compile(
        output.global_args("-nostdin", "-hide_banner", "-loglevel", "error"), cmd=ffmpeg_path()
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pipesize=PIPE_BYTES,
            # Ctrl-C reaches the whole group of a terminal; ffmpeg would end before us, as if the file did.
            process_group=0,
        )
        assert process.stdout is not None  # noqa: S101 - stdout=PIPE

        def complaint() -> str:
            over = not process.stdout.peek(1)  # type: ignore[union-attr]
            failed = over and process.wait() != 0
            log.seek(0)
            lines = log.read(4096).decode(errors="replace").splitlines()
            # ffmpeg prefixes "[h264 @ 0x55d0c8] ", which says nothing to a user.
            said = [re.sub(r"^(\[[^]]*\] )+", "", line).strip(" .") for line in lines]
            return next(filter(None, said), "ffmpeg failed without a message" if failed else "")

        try:
            yield process.stdout, complaint
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
