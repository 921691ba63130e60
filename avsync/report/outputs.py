"""Where the reports of `check` go besides stdout: files, commands, web addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from avsync.core.errors import OutputError, UsageError
from avsync.core.options import CheckOptions
from avsync.core.report import Report

Take = Callable[[int, Report], None]
"""take(number, report): what to do with the report of the file with that number."""

STDOUT = Path("-")
PAGE_SUFFIXES = (".html", ".htm")
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
) -> Iterator[tuple[dict[int, Report], Take]]:
    """(reports by the number of their file, a function that adds one).

    The reports of a resumed JSONL file are there from the start. Every target is checked before the work
    begins; results that cover all files are written at the end, even after Ctrl-C. `write` takes the JSON
    lines that go to stdout.
    """
    if targets.resume and targets.jsonl in (None, STDOUT):
        raise UsageError("--resume continues the file that --jsonl names; give one.")
    whole = (targets.junit, targets.page, targets.plot, targets.markers, targets.overlay)
    if STDOUT in whole:
        raise UsageError("Only --json and --jsonl - write to stdout; name a file for the other results.")
    chosen = [path for path in (targets.jsonl, *whole) if path is not None]
    if len({path.resolve() for path in chosen}) < len(chosen):
        raise UsageError("Two results cannot go into the same file; give each its own name.")
    draw = _plotter(targets.plot, files, batch)
    mark = _of_one_file(targets.markers, batch, "markers", _markers)
    lay = _of_one_file(targets.overlay, batch, "overlay", _overlay)
    tellers, failed = _tellers(targets), []
    if targets.junit is not None:
        from avsync.core.files import ready
        from avsync.report.junit import JUNIT

        ready(targets.junit, JUNIT, "--junit")
    keep = _page_keeper(targets.page, len(files))
    with _jsonl(targets, files, options, write) as (reports, write_line):

        def take(number: int, report: Report) -> None:
            reports[number] = keep(report)
            write_line(number, report)
            draw(number, report)
            mark(number, report)
            lay(number, report)
            for tell in tellers:
                try:
                    tell(report)
                except OutputError as error:
                    failed.append(str(error))

        try:
            yield reports, take
        finally:
            done = [reports[number] for number in sorted(reports)]
            if targets.junit is not None:
                _save_junit(targets.junit, done)
            if targets.page is not None and done:
                _save_page(done, targets.page)
    if failed:
        more = f" And {len(failed) - 1} more times." if len(failed) > 1 else ""
        raise OutputError(failed[0] + more)


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
    with opened_ledger(path, by_name, resumed=targets.resume) as (held, stream):

        def append(number: int, report: Report) -> None:
            try:
                stream.write(to_line(report, stamps[number]))
                stream.flush()
            except OSError as error:
                raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

        yield {names[name]: report for name, report in held.items()}, append


def _plotter(plot: Path | None, files: Sequence[Path], batch: bool) -> Take:
    """A function that plots a file's report at the path for `--plot`; `plot` is checked before the work
    begins."""
    if plot is None:
        return lambda _number, _report: None
    from avsync.core.files import make_folder, protect
    from avsync.report.plot import PLOT, plot_names, save_plot

    single = plot.suffix.lower() == ".png" and not plot.is_dir()
    if batch and single:
        raise UsageError(f"Several files cannot share the plot {plot}; give a folder.")
    if not plot.is_dir() and plot.suffix.lower() in OTHER_IMAGES:
        raise UsageError(f"{plot} has the suffix of another image format; --plot draws .png files.")
    if not single and plot.exists() and not plot.is_dir():
        raise UsageError(f"{plot} is neither a .png file nor a folder; give one of them to --plot.")
    make_folder(plot.parent if single else plot)
    targets = [plot] if single else plot_names(files, plot)
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


def _of_one_file(
    path: Path | None, batch: bool, kind: str, prepared: Callable[[Path], Callable[[Report, Path], object]]
) -> Take:
    """A function that writes a result that covers one file only; `prepared` checks `path` before the work
    begins and returns the writer."""
    if path is None:
        return lambda _number, _report: None
    if batch:
        raise UsageError(f"Several files cannot share the {kind} {path}; check one file with --{kind}.")
    save = prepared(path)

    def take(_number: int, report: Report) -> None:
        if report.verdict != "error":
            save(report, path)

    return take


def _markers(path: Path) -> Callable[[Report, Path], object]:
    from avsync.core.files import ready
    from avsync.report.markers import MARKERS, save_markers, writer

    writer(path)
    ready(path, MARKERS, "--markers")
    return save_markers


def _overlay(path: Path) -> Callable[[Report, Path], object]:
    from avsync.core.files import ready
    from avsync.report.overlay import OVERLAY, save_overlay

    if path.suffix.lower() != ".mp4":
        raise UsageError(f"{path} is not the name of an .mp4 file, which --overlay needs.")
    ready(path, OVERLAY, "--overlay")
    return save_overlay


def _save_junit(path: Path, reports: Sequence[Report]) -> None:
    from avsync.core.files import write_whole
    from avsync.report.junit import to_junit

    write_whole(path, to_junit(reports))


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
