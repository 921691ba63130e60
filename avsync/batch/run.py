"""Many files: find them in folders, check them in this process or in several, and let none stop the rest."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from avsync.batch.one import check_safely, failed, limit_threads
from avsync.core.options import CheckOptions
from avsync.core.records import Report
from avsync.pipeline import run

Show = Callable[[int, str, float, float | None], None]
"""show(file, stage, done, total): progress of the file with that number."""


_REPORT_EVERY_S = 0.1


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    file: int


def check_many(
    files: Sequence[Path],
    options: CheckOptions,
    *,
    workers: int | None = None,
    engine: str = "local",
    show: Show | None = None,
) -> Iterator[tuple[int, Report]]:
    """(number of the file, its report) as each is finished, in `workers` processes: one by default, on the
    engine "ray" as many as its cluster has processors.

    A file that fails gives a report with the verdict "error" and the sentence in its reasons; so does
    one whose process dies.
    """
    show = show or _silent
    if engine == "ray":
        from avsync.batch.ray_engine import check_on_ray

        yield from check_on_ray(files, options, workers)
    elif min(workers or 1, len(files)) <= 1:
        for number, file in enumerate(files):
            yield number, check_safely(file, options, _numbered(show, number))
    else:
        yield from _in_processes(files, options, min(workers or 1, len(files)), show)


def _silent(number: int, stage: str, done: float, total: float | None) -> None:
    """Progress for nobody."""


def _numbered(show: Show, number: int) -> run.Progress:
    return lambda stage, done, total: show(number, stage, done, total)


# --- Several processes -------------------------------------------------------------------


def _in_processes(
    files: Sequence[Path], options: CheckOptions, workers: int, show: Show
) -> Iterator[tuple[int, Report]]:
    """One connection a process instead of a pool: the death of a process (a crash in a codec, no
    memory) then costs the file it was at, and no other."""
    todo = deque(range(len(files)))
    threads = max(1, _processors() // workers)
    running: dict[Connection, _Worker] = {}
    try:
        while todo or running:
            while todo and len(running) < workers:
                worker = _start(options, threads)
                running[worker.connection] = worker
                _give(worker, todo.popleft(), files)
            for connection in wait(list(running)):
                worker = running[connection]  # pyright: ignore[reportArgumentType]
                report = _listen(worker, files, options, show)
                if report is None:
                    continue
                yield worker.file, report
                if todo and worker.process.is_alive():
                    _give(worker, todo.popleft(), files)
                else:
                    running.pop(worker.connection)
                    _stop(worker)
    finally:
        for worker in running.values():
            _stop(worker)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(options: CheckOptions, threads: int) -> _Worker:
    # spawn, not fork: torch and OpenCV hold threads and locks that a fork would copy in any state.
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, options, threads), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here, -1)


def _give(worker: _Worker, number: int, files: Sequence[Path]) -> None:
    worker.file = number
    with suppress(OSError):  # it died between two files; listening to it says so
        worker.connection.send(files[number])


def _listen(worker: _Worker, files: Sequence[Path], options: CheckOptions, show: Show) -> Report | None:
    """The report that a process sends, or None after a message of progress."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        why = "perhaps it ran out of memory; try fewer --workers"
        return failed(
            files[worker.file], f"The process that checked it died (exit code {code}): {why}.", options
        )
    if isinstance(message, Report):
        return message
    show(worker.file, *message)
    return None


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.terminate()
    worker.process.join()


def _serve(connection: Connection, options: CheckOptions, threads: int) -> None:
    """The life of a process: check the files that come until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    limit_threads(threads)
    spoken = 0.0

    def progress(stage: str, done: float, total: float | None) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= _REPORT_EVERY_S:
            spoken = time.monotonic()
            connection.send((stage, done, total))

    while True:
        try:
            file = connection.recv()
        except EOFError:
            return
        connection.send(check_safely(file, options, progress))
