"""Check files for a command, with its progress bars."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avsync.core.errors import AvsyncError, Interrupted, MediaError, told
from avsync.core.options import CheckOptions, Limits

if TYPE_CHECKING:
    from avsync.cli.progress import Bar
    from avsync.core.report import Report


@dataclass(frozen=True)
class Running:
    """How files are checked: the limits of each, how many worker processes (None: as many as fit), on which
    engine. In a batch the error of a file is a report; of a single file, it is raised."""

    limits: Limits
    workers: int | None = None
    engine: str = "local"
    batch: bool = True


def checked(
    files: Sequence[Path], done: Container[int], options: CheckOptions, running: Running, bar: Bar
) -> Iterator[tuple[int, Report]]:
    """(number, report) of each file whose number is not among those `done`, as they are ready."""
    left = [number for number in range(len(files)) if number not in done]
    for place, report in _checked([files[number] for number in left], options, running, bar):
        yield left[place], report


def _checked(
    files: Sequence[Path], options: CheckOptions, running: Running, bar: Bar
) -> Iterator[tuple[int, Report]]:
    from avsync.batch.one import failed
    from avsync.batch.run import check_many
    from avsync.batch.worker import limited_memory
    from avsync.cli.progress import STAGES, staged
    from avsync.pipeline.sources import measure_file

    if not files:
        return
    limits = running.limits
    if not running.batch and limits.seconds is None:
        try:
            with limited_memory(limits.memory_bytes, options.device):
                report = measure_file(files[0], options, staged(bar))
        except AvsyncError as error:
            yield 0, failed(files[0], told(error), options)
            raise
        except Interrupted as stop:
            yield 0, stop.so_far
            raise
        yield 0, report
        return

    def show(number: int, stage: str, done: float, total: float | None) -> None:
        bar(str(number), f"{files[number].name}: {STAGES.get(stage, stage)}", done, total)

    bar("files", "files", 0, len(files))
    workers, engine = running.workers, running.engine
    reports = check_many(files, options, workers=workers, engine=engine, limits=limits, show=show)
    for count, (number, report) in enumerate(reports, 1):
        bar("files", "files", count, len(files))
        bar(str(number), "", 1, 1)
        yield number, report
        if not running.batch and report.verdict == "error":
            raise MediaError(report.reasons[0].values["message"])
