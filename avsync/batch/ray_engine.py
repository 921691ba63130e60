"""Check the files of a batch on a Ray cluster: Ray schedules, this module hands out files and collects
reports."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avsync.batch.one import failed
from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Report

ATTEMPTS = 2
"""Attempts at a file whose machine or process dies."""


def check_on_ray(
    files: Sequence[Path], options: CheckOptions, limits: Limits = Limits(), workers: int | None = None
) -> Iterator[tuple[int, Report]]:
    """(number of the file, its report) as each is finished, on the cluster at `RAY_ADDRESS` or, without one,
    on a local cluster that lives as long as the call.

    `workers` files are checked at the same time, by default one per processor of the cluster. Files, model
    and avsync itself must be on every machine, under the same paths. Raises UsageError when Ray is not
    installed, MediaError when the cluster cannot be reached.
    """
    ray = _ray()
    _connect(ray)
    running: dict[Any, int] = {}
    try:
        check = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_check_there)
        room = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        here = str(Path.cwd())
        for number, file in enumerate(files):
            if len(running) >= room:
                yield from _finished(ray, running, files, options)
            running[check.remote(here, file, options, limits)] = number
        while running:
            yield from _finished(ray, running, files, options)
    finally:
        for task in running:
            ray.cancel(task, force=True)
        ray.shutdown()


def _ray() -> Any:
    # Ray sends usage statistics unless told not to; avsync never uses the network unasked.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS"):
        # Ray runs whatever code anyone sends it. With clusters disabled, which is Ray's default on macOS and
        # Windows, it listens on the loopback interface only.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UsageError(
            "Ray is not installed, which --engine ray needs; install it with: pip install 'avsync[ray]'"
        ) from error
    return ray


def _connect(ray: Any) -> None:
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS")
        asked = f"The Ray cluster at {where} cannot be reached" if where else "Ray cannot be started here"
        raise MediaError(f"{asked} ({error}); see RAY_ADDRESS.") from error


def _finished(
    ray: Any, running: dict[Any, int], files: Sequence[Path], options: CheckOptions
) -> Iterator[tuple[int, Report]]:
    """Wait for at least one file and remove the finished ones from `running`."""
    done, _ = ray.wait(list(running))
    for task in done:
        number = running.pop(task)
        try:
            yield number, ray.get(task)
        except ray.exceptions.RayError as error:
            why = f"the process that checked it died ({type(error).__name__}); perhaps it ran out of memory"
            yield number, failed(files[number], f"{files[number]} was not checked: {why}.", options)


def _check_there(folder: str, file: Path, options: CheckOptions, limits: Limits) -> Report:
    """Check one file on some machine of the cluster, relative to the folder where the command was started, in
    a separate process to which the limits of a file apply."""
    from avsync.batch.processes import in_processes

    try:
        os.chdir(folder)
    except OSError:
        machine = socket.gethostname()
        return failed(
            file, f"{folder} is not on {machine}; all machines of a cluster need the same paths.", options
        )
    return next(report for _, report in in_processes([file], options, limits, workers=1, threads=1))
