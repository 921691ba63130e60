"""Check files in worker processes of this machine; a worker that dies or hangs costs one file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from avsync.batch.one import failed
from avsync.batch.worker import END_S, READY, Ended, GivenUp, Inbox, Message, Worker, start
from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Report

Show = Callable[[int, str, float, float | None], None]
"""show(file, stage, done, total): progress of the file with that number."""
MOMENT_S = 0.5


def in_processes(
    files: Sequence[Path],
    options: CheckOptions,
    limits: Limits,
    workers: int,
    threads: int,
    show: Show | None = None,
) -> Iterator[tuple[int, Report]]:
    """(number of the file, its report) as each is finished, in `workers` processes with `threads` threads
    each. A process that dies, is stopped, or is killed at its limit costs one file; a new one replaces it
    while there is work."""
    todo = deque(enumerate(files))
    running: list[Worker] = []
    inbox: Inbox = SimpleQueue()
    try:
        while todo or running:
            while todo and len(running) < workers:
                running.append(start(options, limits, threads, inbox))
                running[-1].give(*todo.popleft())
            for worker, message in _news(inbox, running):
                if isinstance(message, tuple):
                    if show is not None and message != READY:
                        show(worker.file, *message)
                    continue
                number, report = worker.file, message
                if not isinstance(report, Report):
                    running.remove(worker)
                    report = _lost(worker, files[number], report, options)
                elif todo:
                    worker.give(*todo.popleft())
                else:
                    running.remove(worker)
                    worker.end()
                yield number, report
    finally:
        for worker in running:
            worker.end()


def _news(inbox: Inbox, workers: Sequence[Worker]) -> Iterator[tuple[Worker, Message | GivenUp]]:
    """Messages that arrive from the workers within a moment, then the workers that have been given up."""
    began = time.monotonic()
    heard: list[tuple[Worker, Message]] = []
    with suppress(Empty):
        heard.append(inbox.get(timeout=MOMENT_S))
        while True:
            heard.append(inbox.get_nowait())
    # This process and all the others may have been suspended meanwhile, with Ctrl-Z for example.
    passed_s = min(time.monotonic() - began, 2 * MOMENT_S)
    for worker in workers:
        worker.wait(passed_s)
    for worker, message in heard:
        if worker in workers:  # otherwise it was given up before
            worker.hears(message)
            yield worker, message
    for worker in tuple(workers):
        if why := worker.given_up():
            yield worker, why


def _lost(worker: Worker, file: Path, why: Ended | GivenUp, options: CheckOptions) -> Report:
    """The report on a file whose process has died, or is killed here because it was given up."""
    # A dead process still has to be joined.
    code = worker.end(grace_s=END_S if isinstance(why, Ended) else 0.0)
    limits = worker.limits
    if isinstance(why, Ended):
        cause = "perhaps it ran out of memory; try fewer --workers, or allow it more with --file-memory"
        said = f"The process that checked {file} died (exit code {code}): {cause}."
    elif why == "late":
        said = f"{file} was not judged within {limits.total_seconds:g} s; allow it more with --file-timeout."
    elif why == "stopped":
        said = f"The process that checked {file} was stopped, by a signal or a debugger; try the file again."
    else:
        cause = "is its disk or network in order? --file-timeout allows it more"
        said = f"{file} was given up after {limits.silence_seconds:g} s without progress; {cause}."
    return failed(file, said, options)
