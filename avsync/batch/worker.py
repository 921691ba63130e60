"""A process that checks one file after another, and what the rest of the batch knows of it.

One connection a process instead of a pool: a crash in a codec, a file that takes too long or too much memory
then costs that file and no other.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from avsync.core.options import CheckOptions, Limits
from avsync.core.records import Report

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    resource = None

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
REPORT_EVERY_S = 0.1
PR_SET_PDEATHSIG = 1

Step = tuple[str, float, float | None]
"""Progress: stage, done, total."""
READY: Step = ("", 0.0, None)
"""The first message of a process: everything is imported, and the time of its first file begins."""


@dataclass
class Worker:
    """A process and the number of the file that it is at; `deadline` is in time.monotonic()."""

    process: BaseProcess
    connection: Connection
    limits: Limits
    file: int = -1
    ready: bool = False
    deadline: float = math.inf

    def give(self, number: int, file: Path) -> None:
        """Let it check that file next."""
        self.file = number
        self._start_clock()
        with suppress(OSError):  # it died between two files; hearing from it says so
            self.connection.send(file)

    def hear(self) -> Report | Step | None:
        """Its next message; None when it has died."""
        try:
            message: Report | Step = self.connection.recv()
        except (EOFError, OSError):
            return None
        if message == READY:
            self.ready = True
            self._start_clock()
        return message

    def overdue(self) -> bool:
        """Whether its file has had its time."""
        return time.monotonic() >= self.deadline

    def end(self, grace_s: float = 0.0) -> int | None:
        """Stop it, whatever it is at, unless it ends by itself in `grace_s`; returns its exit code."""
        self.connection.close()
        self.process.join(grace_s)
        self.process.kill()
        self.process.join()
        return self.process.exitcode

    def _start_clock(self) -> None:
        if self.ready and self.limits.seconds is not None:
            self.deadline = time.monotonic() + self.limits.seconds


def start(options: CheckOptions, limits: Limits, threads: int) -> Worker:
    """A new process that waits for files; it dies with this one."""
    # spawn, not fork: torch and OpenCV hold threads and locks that a fork would copy in any state.
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, options, limits, threads), daemon=True)
    with _ctrl_c_held():
        process.start()
    there.close()
    return Worker(process, here, limits)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Children inherit that Ctrl-C does not reach them: it goes to the whole group of a terminal, and a
    child that is still importing would answer with a traceback. The parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def limited_memory(limit_bytes: int, device: str) -> Iterator[None]:
    """Let allocations fail that would take this process, or one that it starts, over `limit_bytes`: a hostile
    file then ends in an error and not in a machine that swaps. Address space that is only reserved does not
    count. Half of the limit is left in any case to a process that has more than that before.

    Where a GPU may do the work there is no limit: its driver maps memory by rules of its own."""
    if resource is None or (device != "cpu" and any(Path(driver).exists() for driver in GPU_DRIVERS)):
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = max(limit_bytes, _allocated_bytes() + limit_bytes // 2)
    lower = [value for value in (limit, before, most) if value != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(lower), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _allocated_bytes() -> int:
    """What counts against the limit now; 0 where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def _die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it died before the kernel was told
        os._exit(1)


def _serve(connection: Connection, options: CheckOptions, limits: Limits, threads: int) -> None:
    """The life of a process: check the files that come until the connection closes."""
    _die_with_parent()
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the batch has ended; nobody listens
        _answer(connection, options, limits, threads)


def _answer(connection: Connection, options: CheckOptions, limits: Limits, threads: int) -> None:
    from avsync.batch.one import check_safely, limit_threads

    limit_threads(threads)
    spoken = 0.0

    def progress(stage: str, done: float, total: float | None) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= REPORT_EVERY_S:
            spoken = time.monotonic()
            connection.send((stage, done, total))

    with limited_memory(limits.memory_bytes, options.device):
        connection.send(READY)
        while True:
            file: Path = connection.recv()
            connection.send(check_safely(file, options, progress))
