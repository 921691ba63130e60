"""The ffmpeg program, which writes media: which one is used, how it is run, how its failures are worded."""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import imageio_ffmpeg

from avsync.core.draft import FULL, Draft, unwritable
from avsync.core.errors import AvsyncError, MediaError, SetupError
from avsync.core.parent import die_with

OLDEST = (7, 1)
"""5.1 was measured to place Opus, and what comes from an MPEG stream, wrong by up to 21 ms in Matroska;
7.0.2, of imageio-ffmpeg 0.6.0, crashes when it copies MPEG-TS. 7.1 is the oldest that passed the tests."""
NEEDED, BETTER = "time_base", "prescale"
"""Options of the bitstream filter setts: the newest that repairs need, and one that they use where it is."""
DISK = tuple(os.strerror(number) for number in (*FULL, errno.EROFS))
ADVICE = (
    "install the Python package imageio-ffmpeg, or set AVSYNC_FFMPEG to an ffmpeg of version 7.1 or later"
)


@dataclass(frozen=True)
class Program:
    """An ffmpeg that can be used; `version` as it says itself, such as "9.0.2-17-g2a571b6068". `prescales`:
    its bitstream filter setts can rescale times before it changes them."""

    path: str
    version: str
    prescales: bool


class FfmpegError(MediaError):
    """ffmpeg ended with an error; `lines` are its complaints, without their "[mp4 @ 0x55d0c8] "."""

    def __init__(self, sentence: str, lines: Sequence[str]) -> None:
        super().__init__(sentence)
        self.lines = tuple(lines)


# --- Which one ---------------------------------------------------------------------------


def program() -> Program:
    """The ffmpeg that `AVSYNC_FFMPEG` names, else the one that the package imageio-ffmpeg carries, else the
    one on PATH.

    Raises:
        SetupError: there is none, or it is too old.
    """
    named = os.environ.get("AVSYNC_FFMPEG")
    if named:
        found = shutil.which(named)
        if found is None:
            raise SetupError(f"AVSYNC_FFMPEG is {named}, which is not a program; {ADVICE}.")
        return _checked(found)
    try:
        carried = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        carried = "ffmpeg"
    found = shutil.which(carried)
    if found is None:
        raise SetupError(f"There is no ffmpeg program, which writes media for avsync; {ADVICE}.")
    return _checked(found)


def ffmpeg_path() -> str:
    """Where the `program` is. Raises SetupError as that does."""
    return program().path


@functools.cache
def _checked(path: str) -> Program:
    """A program that runs and is new enough, asked once for its version."""
    try:
        said = subprocess.run([path, "-version"], capture_output=True, check=False, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"The program {path} does not run ({error}); {ADVICE}.") from error
    found = re.match(rb"ffmpeg version n?(\S+)", said)
    if not found:
        raise SetupError(f"The program {path} does not say that it is ffmpeg; {ADVICE}.")
    version = found[1].decode(errors="replace")
    # Builds between releases are called by a date or a commit, and are taken to be new.
    numbers = re.match(r"(\d{1,2})\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise SetupError(f"The program {path} is ffmpeg {version}, which is too old; {ADVICE}.")
    asked = subprocess.run([path, "-hide_banner", "-h", "bsf=setts"], capture_output=True, check=False)
    if NEEDED.encode() not in asked.stdout:
        raise SetupError(f"The program {path}, ffmpeg {version}, lacks the bitstream filter setts; {ADVICE}.")
    return Program(path, version, BETTER.encode() in asked.stdout)


# --- Running it --------------------------------------------------------------------------


def run_ffmpeg(
    arguments: Iterable[str],
    deed: str,
    target: Draft | None = None,
    *,
    feed: Iterable[bytes] | None = None,
    on_time: Callable[[float], None] | None = None,
) -> None:
    """Run ffmpeg to its end; it ends with this process, however that ends.

    `deed` completes "ffmpeg could not ...". `feed` is what it reads from `pipe:0`. `on_time` gets the seconds
    of output written so far.

    Raises:
        SetupError: there is no ffmpeg.
        OutputError: the disk of `target` is full, or does not take it.
        FfmpegError: anything else it complains of.
    """
    call = [
        ffmpeg_path(),
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "error",
        "-progress",
        "pipe:1",
        "-nostats",
    ]
    with tempfile.TemporaryFile() as log:
        stdin = subprocess.DEVNULL if feed is None else subprocess.PIPE
        stdout = subprocess.PIPE if on_time else subprocess.DEVNULL
        process = _started([*call, *arguments], stdin=stdin, stdout=stdout, stderr=log)
        try:
            if feed is not None:
                _feed(process, feed)
            for line in process.stdout or ():
                time = re.match(rb"out_time_us=(-?\d+)", line)
                if time and on_time:
                    on_time(int(time[1]) / 1e6)
            process.wait()
        finally:
            _end(process)
        lines = _complaints(log)
    if target is not None and (error := target.no_room()):
        raise unwritable(target.target, error)
    if process.returncode:
        raise _failure(lines, process.returncode, deed, target)


@contextmanager
def running(arguments: Iterable[str]) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[str]]]]:
    """An ffmpeg that goes on while the block lasts, with its stdout as a pipe; and a function that gives what
    it has complained of so far. It ends with the thread that starts it.

    Raises:
        SetupError: there is no ffmpeg.
    """
    call = [ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", *arguments]
    with tempfile.TemporaryFile() as log:
        process = _started(call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            yield process, lambda: _complaints(log)
        finally:
            _end(process)


def _feed(process: subprocess.Popen[bytes], feed: Iterable[bytes]) -> None:
    """Write to a running ffmpeg; one that has given up says why itself."""
    try:
        with process.stdin as pipe:  # type: ignore[union-attr] - stdin=PIPE
            for block in feed:
                pipe.write(block)
    except BrokenPipeError:
        pass


def _failure(lines: Sequence[str], code: int, deed: str, target: Draft | None) -> AvsyncError:
    text = "\n".join(lines)
    refused = next((why for why in DISK if why in text), None)
    if target is not None and refused:
        return unwritable(target.target, refused)
    if code < 0:
        why, advice = f"it was stopped by {signal.Signals(-code).name}", "free some memory and try again"
    else:
        why = lines[0].split(". ")[0] if lines else f"it ended with {code} and gave no message"
        advice = "check that the file plays, or record it again"
    return FfmpegError(f"ffmpeg could not {deed} ({why}); {advice}.", lines)


def _complaints(log: IO[bytes]) -> list[str]:
    """What ffmpeg has said so far, line by line, without its "[h264 @ 0x55d0c8] ", meaningless to a user."""
    log.seek(0)
    lines = log.read(1 << 16).decode(errors="replace").splitlines()
    return [line for said in lines if (line := re.sub(r"^(\[[^]]*\] )+", "", said).strip(" ."))]


def _started(call: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child that ends with the thread that starts it, also when that is killed.

    It is in a group of its own: Ctrl-C reaches the whole group of a terminal, and ffmpeg would end before
    this process does, as if the file did. Where the system is not Linux, only the group is set.
    """
    if os.name == "posix":
        options["process_group"] = 0
    if sys.platform == "linux":
        options["preexec_fn"] = functools.partial(die_with, os.getpid(), 1)
    process: Any = subprocess.Popen(call, **options)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
