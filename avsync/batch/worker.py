"""A process that checks one file after another, and the batch's view of it.

Each process has its own connection instead of sharing a pool, so that a crash in a codec, or a file that
takes too much time or memory, costs that file and no other. A thread per connection waits for messages,
because a process stopped halfway through one would otherwise block the reader.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from avsync.core.device import may_have_gpu
from avsync.core.options import CheckOptions, Limits
from avsync.core.parent import die_with
from avsync.core.report import Report

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    resource = None

REPORT_EVERY_S = 0.1
PARENTS_ALONE = {getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Signals that a child answers as any process does, once it is there."""

START_S = 120.0
"""Allowed for imports, which do not count against the first file."""
STOPPED_S = 10.0
"""How long a process may be stopped; one that a debugger left behind would never continue."""
END_S = 10.0
"""How long a process may take to die of SIGKILL; one that waits for a broken disk or network share does not
die."""

Step = tuple[str, float, float | None]
"""Progress: stage, done, total."""
READY: Step = ("", 0.0, None)
"""The first message of a process: imports are done, and the time of its first file begins."""


class Ended:
    """Stands in for a message when a process has died."""


@dataclass(eq=False)
class Worker:
    """A process, and the number of the file it is checking. Times are in seconds as counted by the parent,
    which do not advance while the parent itself is suspended."""

    process: BaseProcess
    connection: Connection
    limits: Limits
    file: int = -1
    ready: bool = False
    spent_s: float = 0.0
    silent_s: float = 0.0
    stopped_s: float = 0.0

    def give(self, number: int, file: Path) -> None:
        """Hand it the next file."""
        self.file = number
        self.spent_s = self.silent_s = 0.0
        with suppress(OSError):  # it died between two files, which the next message tells
            self.connection.send(file)

    def hears(self, message: Message) -> None:
        """Record a message from it."""
        self.silent_s = 0.0
        if message == READY:
            self.ready = True
            self.spent_s = 0.0

    def wait(self, seconds: float) -> None:
        """Record that time has passed."""
        self.spent_s += seconds
        self.silent_s += seconds
        self.stopped_s = self.stopped_s + seconds if _is_stopped(self.process.pid) else 0.0

    def given_up(self) -> GivenUp | None:
        """Why it was given up; None if it was not."""
        more_s = 0.0 if self.ready else START_S
        if self.spent_s >= self.limits.total_seconds + more_s:
            return "late"
        if self.stopped_s >= STOPPED_S:
            return "stopped"
        silent = self.limits.seconds is None and self.silent_s >= self.limits.silence_seconds + more_s
        return "silent" if silent else None

    def end(self, grace_s: float = 0.0) -> int | None:
        """Kill it unless it exits within `grace_s`; returns its exit code, None if it does not die."""
        self.process.join(grace_s)
        self.process.kill()
        self.process.join(END_S)
        if self.process.exitcode is None:  # multiprocessing would join it when the interpreter exits
            process._children.discard(self.process)  # pyright: ignore[reportAttributeAccessIssue]
        return self.process.exitcode


Message = Report | Step | Ended
GivenUp = Literal["late", "stopped", "silent"]
Inbox = SimpleQueue[tuple[Worker, Message]]
"""Where the messages of all processes arrive."""


def start(options: CheckOptions, limits: Limits, threads: int, inbox: Inbox) -> Worker:
    """A new process that waits for files and dies with this one."""
    # spawn, not fork: a fork would copy the threads and locks of torch and OpenCV in an undefined state.
    context = get_context("spawn")
    here, there = context.Pipe()
    made = context.Process(target=_serve, args=(there, options, limits, threads), daemon=True)
    with signals_held():
        made.start()
    there.close()
    worker = Worker(made, here, limits)
    threading.Thread(target=_receive, args=(worker, inbox), daemon=True).start()
    return worker


def _receive(worker: Worker, inbox: Inbox) -> None:
    """Put its messages into the inbox until the process has died."""
    with worker.connection, suppress(EOFError, OSError):
        while True:
            inbox.put((worker, worker.connection.recv()))
    inbox.put((worker, Ended()))


def _is_stopped(pid: int | None) -> bool:
    """Whether a process is stopped by a signal or a debugger; False if the system cannot tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


@contextmanager
def signals_held() -> Iterator[None]:
    """Start children with Ctrl-C ignored: a terminal sends it to the whole process group, and a child that is
    still importing would print a traceback. The parent ends them. No signal stops it halfway through, which
    the child would print a traceback of too."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # as it starts, which the first child would cause, it unblocks Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *PARENTS_ALONE})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def limited_memory(limit_bytes: int, device: str) -> Iterator[None]:
    """Make allocations fail that would take this process, or one that it starts, over `limit_bytes`, so that
    a hostile file ends in an error instead of a swapping machine.

    Reserved address space does not count. A process that already uses much memory still gets half of the
    limit on top of that. There is no limit if a GPU may do the work, since its driver maps memory in its own
    way.
    """
    if resource is None or (device != "cpu" and may_have_gpu()):
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
    """Memory that counts against the limit now; 0 if the system cannot tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, for whatever reason."""
    parent = parent_process()
    if parent is not None and parent.pid is not None:
        die_with(parent.pid, 1)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_ALONE)


def _serve(connection: Connection, options: CheckOptions, limits: Limits, threads: int) -> None:
    """Main function of a process: check files as they arrive until the connection closes."""
    die_with_parent()
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the batch has ended
        _answer(connection, options, limits, threads)


def _answer(connection: Connection, options: CheckOptions, limits: Limits, threads: int) -> None:
    from avsync.batch.one import check_safely, limit_threads

    limit_threads(threads)
    spoken = 0.0

    def progress(stage: str, done: float, total: float | None) -> None:
        nonlocal spoken
        if done == total or time.monotonic() - spoken >= REPORT_EVERY_S:
            spoken = time.monotonic()
            connection.send((stage, done, total))

    with limited_memory(limits.memory_bytes, options.device):
        connection.send(READY)
        while True:
            file: Path = connection.recv()
            connection.send(check_safely(file, options, progress))
