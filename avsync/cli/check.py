"""`avsync check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from avsync.cli.batch_options import (
    TARGETS,
    Engine,
    FileMemory,
    FileTimeout,
    Json,
    Paths,
    Settle,
    Watch,
    Workers,
)
from avsync.cli.check_options import CHECK_OPTIONS, Config, with_check_options
from avsync.cli.checking import Running, checked
from avsync.cli.console import console, emit, guarded
from avsync.cli.options import Quiet, with_options
from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckKeywords, CheckOptions, Limits

if TYPE_CHECKING:
    from avsync.core.report import Report
    from avsync.report.outputs import Targets


@guarded
@with_check_options(*CHECK_OPTIONS)
@with_options("targets", TARGETS)
def check(
    context: typer.Context,
    paths: Paths = None,
    *,
    check: CheckKeywords,
    config: Config = None,
    as_json: Json = False,
    targets: dict[str, Any],
    watch: Watch = None,
    settle: Settle = 5.0,
    workers: Workers = None,
    engine: Engine = "local",
    file_timeout: FileTimeout = None,
    file_memory: FileMemory = Limits.memory_bytes // 1_000_000,
    quiet: Quiet = False,
) -> int:
    """Measure whether the audio of videos is early or late.

    [bold]Exit codes[/bold]
    0  in sync
    1  out of tolerance, or the lips do not match the speech at all
    2  wrong usage
    3  cannot tell, or only partly judged: no face, no speech, too little evidence
    4  a file or a model cannot be used
    With several files, the highest code counts.

    [bold]Examples[/bold]
    avsync check talk.mp4
    avsync check talk.mp4 --report talk.html
    avsync check clips/ --jsonl out.jsonl --resume --workers 2
    avsync check list.csv --jsonl out.jsonl --engine ray
    avsync check film.mkv --audio-track 1 --standard itu --max-offset-ms 2000
    avsync check film.mov --profile netflix --markers film.edl
    avsync check rushes/ --csv rushes.csv --markers 'markers/{name}.edl'
    avsync check --watch in/ --jsonl out.jsonl --on-verdict './sort.sh {path}'
    avsync check talk.mp4 --json | jq .offset_ms
    avsync check film.mkv --start 600 --duration 120
    avsync check https://example.org/talk.mp4
    avsync check --allow-playlists https://example.org/talk.m3u8
    ffmpeg -i talk.mp4 -c copy -f matroska - | avsync check -
    """
    from avsync.batch.inputs import find_media, is_manifest
    from avsync.cli.inputs import as_files
    from avsync.cli.settings import settled, typed
    from avsync.report.document import exit_code
    from avsync.report.outputs import STDOUT, Targets

    options = settled(typed(context, check), config)
    wanted = Targets(**targets)
    limits = Limits(file_timeout, file_memory * 1_000_000)
    if as_json and wanted.jsonl == STDOUT:
        raise UsageError("Both --json and --jsonl - write to stdout; choose one.")
    if watch is not None:
        from avsync.cli.watch import watch_folder

        if paths or as_json or engine != "local":
            raise UsageError("--watch takes a folder alone, and goes with neither --json nor --engine ray.")
        return watch_folder(watch, options, wanted, limits, settle_s=settle, workers=workers, quiet=quiet)
    if not paths:
        raise UsageError("Nothing to check was named; give a video, or a folder of videos.")
    if len(paths) > 1 or engine == "ray" or wanted.resume:
        _refuse_streams(paths)
    with as_files(paths, quiet=quiet, allow_playlists=options.allow_playlists) as (given, renamed):
        batch = engine == "ray" or len(given) > 1 or given[0].is_dir() or is_manifest(given[0])
        files = find_media(given)
        if engine != "ray":  # the machines of a cluster have their own models
            from avsync.networks.library import require

            require(options.model)
        running = Running(limits, workers, engine, batch)
        return exit_code(_check(files, options, wanted, running, renamed, as_json=as_json, quiet=quiet))


def _refuse_streams(paths: Sequence[Path | str]) -> None:
    """Raise UsageError for an address or standard input, MediaError for a file that is not there either."""
    files = [path for path in paths if isinstance(path, Path)]
    if len(files) == len(paths):
        return
    for path in files:
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the name.")
    raise UsageError("An address or - is checked alone, without --resume and --engine ray.")


def _check(
    files: Sequence[Path],
    options: CheckOptions,
    targets: Targets,
    running: Running,
    renamed: Callable[[Report], Report],
    *,
    as_json: bool,
    quiet: bool,
) -> list[Report]:
    """Check files, write what was asked for, and print the reports, which are returned in order."""
    from avsync.cli.progress import progress_bars, staged
    from avsync.report.outputs import STDOUT, opened

    with opened(targets, files, options, write=emit, batch=running.batch) as (reports, take):
        if reports and not quiet:
            typer.echo(f"{len(reports)} of {len(files)} files are done already.", err=True)
        try:
            with progress_bars(quiet=quiet) as bar:
                for number, report in checked(files, reports, options, running, bar):
                    take(number, renamed(report), staged(bar))
        finally:
            # Even after Ctrl-C, show what is done.
            done = [reports[number] for number in sorted(reports)]
            if done and targets.jsonl != STDOUT:
                _print(done, batch=running.batch, as_json=as_json)
    return done


def _print(reports: Sequence[Report], *, batch: bool, as_json: bool) -> None:
    if as_json:
        from avsync.report.document import to_json

        emit(to_json(reports, many=batch))
    elif batch or reports[0].verdict != "error":  # the error of one file goes to stderr
        from avsync.report.terminal import to_text

        emit(to_text(reports, console(), batch=batch), styled=True)
