"""Many files: check them in processes, here or on a cluster, and let none stop the rest."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from avsync.batch.one import failed
from avsync.batch.worker import READY, Worker, start
from avsync.core.options import CheckOptions, Limits
from avsync.core.records import Report

Show = Callable[[int, str, float, float | None], None]
"""show(file, stage, done, total): progress of the file with that number."""


def check_many(
    files: Sequence[Path],
    options: CheckOptions,
    *,
    workers: int | None = None,
    engine: str = "local",
    limits: Limits = Limits(),
    show: Show | None = None,
) -> Iterator[tuple[int, Report]]:
    """(number of the file, its report) as each is finished, in `workers` processes: one by default, on the
    engine "ray" as many as its cluster has processors.

    A file that fails gives a report with the verdict "error" and the sentence in its reasons; so does one
    that goes beyond its `limits`, or whose process dies.
    """
    if engine == "ray":
        from avsync.batch.ray_engine import check_on_ray

        yield from check_on_ray(files, options, limits, workers)
    else:
        count = max(1, min(workers or 1, len(files)))
        threads = max(1, _processors() // count)
        yield from in_processes(files, options, limits, count, threads, show)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    files: Sequence[Path],
    options: CheckOptions,
    limits: Limits,
    workers: int,
    threads: int,
    show: Show | None = None,
) -> Iterator[tuple[int, Report]]:
    """`check_many` in that many processes with that many threads each. A process that dies, or is ended at
    its limit, takes one file with it; another takes its place while there is work."""
    todo = deque(enumerate(files))
    running: list[Worker] = []
    try:
        while todo or running:
            while todo and len(running) < workers:
                running.append(start(options, limits, threads))
                running[-1].give(*todo.popleft())
            for worker in _with_news(running):
                number = worker.file
                report = _news(worker, files[number], options, show)
                if report is None:
                    continue
                if todo and not worker.connection.closed:
                    worker.give(*todo.popleft())
                else:
                    running.remove(worker)
                    worker.end()
                yield number, report
    finally:
        for worker in running:
            worker.end()


def _with_news(workers: Sequence[Worker]) -> list[Worker]:
    """Waits until a worker has sent something, has died, or has had its time."""
    soonest = min(worker.deadline for worker in workers) - time.monotonic()
    heard = wait([worker.connection for worker in workers], max(0.0, soonest) if soonest < math.inf else None)
    return [worker for worker in workers if worker.connection in heard or worker.overdue()]


def _news(worker: Worker, file: Path, options: CheckOptions, show: Show | None) -> Report | None:
    """The report on the file that a worker is at, or None after a message of progress. Whoever has died or
    had its time is ended."""
    if not worker.connection.poll():
        worker.end()
        said = f"{file} was not judged within {worker.limits.seconds:g} s; allow it more with --file-timeout."
        return failed(file, said, options)
    message = worker.hear()
    if isinstance(message, Report):
        return message
    if message is None:
        why = "perhaps it ran out of memory; try fewer --workers, or allow it more with --file-memory"
        said = f"The process that checked {file} died (exit code {worker.end(grace_s=5)}): {why}."
        return failed(file, said, options)
    if show is not None and message != READY:
        show(worker.file, *message)
    return None
