"""Where the reports of `check` go besides stdout: files, commands, web addresses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from avsync.core.errors import AvsyncError, OutputError, UsageError
from avsync.core.options import CheckOptions
from avsync.core.report import Report

Take = Callable[[int, Report], None]
"""take(number, report): what to do with the report of the file with that number."""
Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total)."""


class TakeIn(Protocol):
    """Writes the report of the file with that number wherever it goes; overlays tell their progress."""

    def __call__(self, number: int, report: Report, progress: Progress | None = None) -> None: ...


Save = Callable[[Report, Path, Progress | None], object]

STDOUT = Path("-")
PAGE_SUFFIXES = (".html", ".htm")
NAME = "{name}"
"""Where the name of each file goes in a path that several files share."""
OTHER_IMAGES = (".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf", ".tif", ".tiff", ".bmp")
"""Suffixes of files rather than folders."""


@dataclass(frozen=True)
class Targets:
    """Paths of `check`'s results, and the command and web address to notify of each; None: not wanted.
    `resume`: continue the file `jsonl`."""

    jsonl: Path | None = None
    resume: bool = False
    plot: Path | None = None
    junit: Path | None = None
    table: Path | None = None
    page: Path | None = None
    markers: Path | None = None
    overlay: Path | None = None
    on_verdict: str | None = None
    webhook: str | None = None


@contextmanager
def opened(
    targets: Targets,
    files: Sequence[Path],
    options: CheckOptions,
    *,
    write: Callable[[str], None],
    batch: bool,
) -> Iterator[tuple[dict[int, Report], TakeIn]]:
    """(reports by the number of their file, a function that adds one).

    The reports of a resumed JSONL file are there from the start. Every target is checked before the work
    begins; results that cover all files are written at the end, even after Ctrl-C. `write` takes the JSON
    lines that go to stdout.
    """
    if targets.resume and targets.jsonl in (None, STDOUT):
        raise UsageError("--resume continues the file that --jsonl names; give one.")
    whole = (targets.junit, targets.table, targets.page, targets.plot, targets.markers, targets.overlay)
    if STDOUT in whole:
        raise UsageError("Only --json and --jsonl - write to stdout; name a file for the other results.")
    chosen = [path for path in (targets.jsonl, *whole) if path is not None]
    if len({path.resolve() for path in chosen}) < len(chosen):
        raise UsageError("Two results cannot go into the same file; give each its own name.")
    draw = _plotter(targets.plot, files, batch)
    mark = _of_each(targets.markers, files, batch, "markers", _markers)
    lay = _of_each(targets.overlay, files, batch, "overlay", _overlay)
    tellers = _tellers(targets)
    failed: list[AvsyncError] = []
    tables = _tables(targets)
    keep = _page_keeper(targets.page, len(files))

    def try_each(deeds: Iterable[Callable[[], object]]) -> None:
        for deed in deeds:
            try:
                deed()
            except AvsyncError as error:  # the other files, and the other results, are still wanted
                failed.append(error)

    with _jsonl(targets, files, options, write) as (reports, write_line):

        def take(number: int, report: Report, progress: Progress | None = None) -> None:
            reports[number] = keep(report)
            write_line(number, report)
            try_each(
                (
                    lambda: draw(number, report),
                    lambda: mark(number, report, progress),
                    lambda: lay(number, report, progress),
                    *(functools.partial(tell, report) for tell in tellers),
                )
            )

        try_each(functools.partial(mark, number, report, None) for number, report in reports.items())
        try:
            yield reports, take
        finally:
            done = [reports[number] for number in sorted(reports)]
            try_each(functools.partial(save, done) for save in tables)
            if targets.page is not None and done:
                try_each([functools.partial(_save_page, done, targets.page)])
    if failed:
        more = f" {len(failed) - 1} more failed, too." if len(failed) > 1 else ""
        raise OutputError(f"{failed[0]}{more}") if batch or more else failed[0]


@contextmanager
def _jsonl(
    targets: Targets, files: Sequence[Path], options: CheckOptions, write: Callable[[str], None]
) -> Iterator[tuple[dict[int, Report], Take]]:
    """The reports already in the file, and a function that appends a line."""
    from avsync.report.document import to_line
    from avsync.report.jsonl import opened_ledger, stamp

    path = targets.jsonl
    if path is None:
        yield {}, lambda _number, _report: None
        return
    stamps = [stamp(file, options) for file in files]
    if path == STDOUT:
        yield {}, lambda number, report: write(to_line(report, stamps[number]))
        return
    names = {str(file): number for number, file in enumerate(files)}
    by_name = {name: stamps[number] for name, number in names.items()}
    with opened_ledger(path, by_name, resumed=targets.resume) as (held, add):

        def append(number: int, report: Report) -> None:
            try:
                add(str(files[number]), to_line(report, stamps[number]))
            except OSError as error:
                raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

        yield {names[name]: report for name, report in held.items()}, append


def _plotter(plot: Path | None, files: Sequence[Path], batch: bool) -> Take:
    """A function that plots a file's report at the path for `--plot`; `plot` is checked before the work
    begins."""
    if plot is None:
        return lambda _number, _report: None
    from avsync.core.files import make_folder, protect
    from avsync.report.plot import PLOT, save_plot

    single = plot.suffix.lower() == ".png" and not plot.is_dir()
    if batch and single:
        raise UsageError(f"Several files cannot share the plot {plot}; give a folder.")
    if not plot.is_dir() and plot.suffix.lower() in OTHER_IMAGES:
        raise UsageError(f"{plot} has the suffix of another image format; --plot draws .png files.")
    if not single and plot.exists() and not plot.is_dir():
        raise UsageError(f"{plot} is neither a .png file nor a folder; give one of them to --plot.")
    make_folder(plot.parent if single else plot)
    targets = [plot] if single else named_after(files, plot / f"{NAME}.png")
    for target in targets:
        protect(target, PLOT, "--plot")

    def draw(number: int, report: Report) -> None:
        if report.verdict != "error":
            save_plot(report, targets[number])

    return draw


def _tellers(targets: Targets) -> list[Callable[[Report], None]]:
    """Functions that notify a command and a web address of a report; both are checked before the work
    begins."""
    from avsync.report.notify import command, webhook

    tellers = []
    if targets.on_verdict is not None:
        tellers.append(command(targets.on_verdict))
    if targets.webhook is not None:
        tellers.append(webhook(targets.webhook))
    return tellers


def _of_each(
    path: Path | None, files: Sequence[Path], batch: bool, kind: str, prepared: Callable[[Path], Save]
) -> Callable[[int, Report, Progress | None], None]:
    """A function that writes a result that covers one file only; `prepared` checks each path before the work
    begins and returns the writer."""
    if path is None:
        return lambda _number, _report, _progress: None
    if batch and NAME not in str(path):
        raise UsageError(
            f"Several files cannot share the {kind} {path}; put {NAME} where the name of each file goes, as "
            f"in {path.with_stem(NAME)}."
        )
    targets = named_after(files, path)
    saves = [prepared(target) for target in targets]

    def take(number: int, report: Report, progress: Progress | None) -> None:
        if report.verdict != "error":
            saves[number](report, targets[number], progress)

    return take


def require_names(targets: Targets) -> None:
    """Raises UsageError where files that are yet to come could not have markers or overlays of their own."""
    some = (Path("video"),)
    _of_each(targets.markers, some, True, "markers", _markers)
    _of_each(targets.overlay, some, True, "overlay", _overlay)


def named_after(files: Iterable[Path], template: Path) -> list[Path]:
    """A path for each file: `template` with the file's name in place of NAME; equal ones are numbered."""
    taken: set[str] = set()
    paths = []
    for file in files:
        name, number = file.name, 1
        path = str(template).replace(NAME, name)
        while path.lower() in taken:
            number += 1
            path = str(template).replace(NAME, f"{name}-{number}")
        taken.add(path.lower())
        paths.append(Path(path))
    return paths


def _markers(path: Path) -> Save:
    from avsync.core.files import ready
    from avsync.report.markers import MARKERS, save_markers, writer

    writer(path)
    ready(path, MARKERS, "--markers")
    return lambda report, target, _progress: save_markers(report, target)


def _overlay(path: Path) -> Save:
    from avsync.core.files import ready
    from avsync.report.overlay import OVERLAY, save_overlay

    if path.suffix.lower() != ".mp4":
        raise UsageError(f"{path} is not the name of an .mp4 file, which --overlay needs.")
    ready(path, OVERLAY, "--overlay")
    return save_overlay


def _tables(targets: Targets) -> list[Callable[[Sequence[Report]], object]]:
    """Functions that write the results with a row for each file; their paths are checked at once."""
    from avsync.core.files import ready, write_whole
    from avsync.report import junit, table

    wanted = [
        (targets.junit, junit.JUNIT, "--junit", junit.to_junit),
        (targets.table, table.TABLE, "--csv", table.to_csv),
    ]
    saves = []
    for path, kind, option, made in wanted:
        if path is not None:
            ready(path, kind, option)
            saves.append(lambda reports, path=path, made=made: write_whole(path, made(reports)))
    return saves


def _page_keeper(page: Path | None, files: int) -> Callable[[Report], Report]:
    """A function that keeps only what the page will show of a report; `page` is checked before the work
    begins."""
    from avsync.report.html import PAGE, keeper, without_portraits

    if page is None:
        return without_portraits
    from avsync.core.files import ready

    if page.is_dir() or page.suffix.lower() not in PAGE_SUFFIXES:
        raise UsageError(f"{page} is not the name of an .html file, which --report needs.")
    ready(page, PAGE, "--report")
    return keeper(files)


def _save_page(reports: Sequence[Report], page: Path) -> None:
    from avsync.report.html import save_page

    save_page(reports, page)
