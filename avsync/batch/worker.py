"""A process that checks one file after another, and what the rest of the batch knows of it.

One connection a process instead of a pool: a crash in a codec, a file that takes too long or too much memory
then costs that file and no other. A thread for each connection waits for messages, because a process that is
stopped halfway through one would otherwise block its reader.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Report

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    resource = None

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
REPORT_EVERY_S = 0.1
PR_SET_PDEATHSIG = 1

START_S = 120.0
"""For importing, which does not count as time of the first file."""
STOPPED_S = 10.0
"""How long a process may be in the state "stopped". Nobody wakes one that a debugger has left so."""
END_S = 10.0
"""How long a process may take to die of SIGKILL; one that waits for a broken disk or share does not die."""

Step = tuple[str, float, float | None]
"""Progress: stage, done, total."""
READY: Step = ("", 0.0, None)
"""The first message of a process: everything is imported, and the time of its first file begins."""


class Ended:
    """What takes the place of a message when a process has died."""


@dataclass(eq=False)
class Worker:
    """A process, and the number of the file that it is at. Times are in seconds and of the process that waits
    for it: while that was stopped itself, none passed."""

    process: BaseProcess
    connection: Connection
    limits: Limits
    file: int = -1
    ready: bool = False
    spent_s: float = 0.0
    silent_s: float = 0.0
    stopped_s: float = 0.0

    def give(self, number: int, file: Path) -> None:
        """Let it check that file next."""
        self.file = number
        self.spent_s = self.silent_s = 0.0
        with suppress(OSError):  # it died between two files; the next message says so
            self.connection.send(file)

    def hears(self, message: Message) -> None:
        """Note that it has sent something."""
        self.silent_s = 0.0
        if message == READY:
            self.ready = True
            self.spent_s = 0.0

    def wait(self, seconds: float) -> None:
        """Note that so much time has passed."""
        self.spent_s += seconds
        self.silent_s += seconds
        self.stopped_s = self.stopped_s + seconds if _is_stopped(self.process.pid) else 0.0

    def given_up(self) -> GivenUp | None:
        """Why it is waited for no longer."""
        more_s = 0.0 if self.ready else START_S
        if self.limits.seconds is not None and self.spent_s >= self.limits.seconds + more_s:
            return "late"
        if self.stopped_s >= STOPPED_S:
            return "stopped"
        silent = self.limits.seconds is None and self.silent_s >= self.limits.silence_seconds + more_s
        return "silent" if silent else None

    def end(self, grace_s: float = 0.0) -> int | None:
        """Kill it, unless it ends by itself in `grace_s`; returns its exit code, None if it does not die."""
        self.process.join(grace_s)
        self.process.kill()
        self.process.join(END_S)
        if self.process.exitcode is None:  # multiprocessing would wait for it when the interpreter ends
            process._children.discard(self.process)  # pyright: ignore[reportAttributeAccessIssue]
        return self.process.exitcode


Message = Report | Step | Ended
GivenUp = Literal["late", "stopped", "silent"]
Inbox = SimpleQueue[tuple[Worker, Message]]
"""Where the messages of all processes arrive."""


def start(options: CheckOptions, limits: Limits, threads: int, inbox: Inbox) -> Worker:
    """A new process that waits for files; it dies with this one."""
    # spawn, not fork: torch and OpenCV hold threads and locks that a fork would copy in any state.
    context = get_context("spawn")
    here, there = context.Pipe()
    made = context.Process(target=_serve, args=(there, options, limits, threads), daemon=True)
    with _ctrl_c_held():
        made.start()
    there.close()
    worker = Worker(made, here, limits)
    threading.Thread(target=_receive, args=(worker, inbox), daemon=True).start()
    return worker


def _receive(worker: Worker, inbox: Inbox) -> None:
    """Put messages into the inbox until the process has died."""
    with worker.connection, suppress(EOFError, OSError):
        while True:
            inbox.put((worker, worker.connection.recv()))
    inbox.put((worker, Ended()))


def _is_stopped(pid: int | None) -> bool:
    """Whether a process is stopped, by a signal or a debugger; False where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Children inherit that Ctrl-C does not reach them: it goes to the whole group of a terminal, and a
    child that is still importing would answer with a traceback. The parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
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
    if parent is not None and os.getppid() != parent.pid:  # it died before the call
        os._exit(1)


def _serve(connection: Connection, options: CheckOptions, limits: Limits, threads: int) -> None:
    """The life of a process: check the files that come until the connection closes."""
    _die_with_parent()
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the batch has ended
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
