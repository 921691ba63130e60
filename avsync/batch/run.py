"""Check many files in processes, here or on a cluster; none stops the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from avsync.batch.processes import Show, in_processes
from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Report


def check_many(
    files: Sequence[Path],
    options: CheckOptions,
    *,
    workers: int | None = None,
    engine: str = "local",
    limits: Limits = Limits(),
    show: Show | None = None,
) -> Iterator[tuple[int, Report]]:
    """(number of the file, its report) as each is finished, in `workers` processes: by default one, or with
    the engine "ray" one per processor of its cluster.

    A file that fails gives a report with the verdict "error" and the message in its reasons; so does one that
    exceeds its `limits`, or whose process dies.
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
