"""`avsync check --watch`: check what arrives in a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from avsync.cli.checking import Running, checked
from avsync.cli.console import console, emit
from avsync.core.errors import EXIT_IN_SYNC, OutputError, UsageError
from avsync.core.options import CheckOptions, Limits
from avsync.report.outputs import STDOUT, Targets, opened, require_names

log = logging.getLogger(__name__)


def watch_folder(
    folder: Path,
    options: CheckOptions,
    targets: Targets,
    limits: Limits,
    *,
    settle_s: float,
    workers: int | None,
    quiet: bool,
) -> int:
    """Check files as they arrive until Ctrl-C, the normal way to end it.

    Files already in the JSONL file are not checked again, so that watching can be resumed. Raises UsageError
    for a target that needs a known list of files.
    """
    from avsync.batch.watch import arrivals
    from avsync.networks.library import find

    whole = (targets.junit, targets.table, targets.page, targets.plot)
    if any(target is not None for target in whole):
        raise UsageError("--watch writes --jsonl; --report, --junit, --csv and --plot need a run that ends.")
    require_names(targets)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one to --watch.")
    find(options.model)
    resumed = replace(targets, resume=targets.jsonl not in (None, STDOUT))
    log.info("watching %s", folder)
    try:
        for files in arrivals(folder, settle_s=settle_s):
            if files:
                _check_arrived(files, options, resumed, Running(limits, workers), quiet=quiet)
    except KeyboardInterrupt:
        return EXIT_IN_SYNC
    return EXIT_IN_SYNC


def _check_arrived(
    files: Sequence[Path],
    options: CheckOptions,
    targets: Targets,
    running: Running,
    *,
    quiet: bool,
) -> None:
    from avsync.cli.console import fail
    from avsync.cli.progress import progress_bars
    from avsync.report.terminal import to_line

    try:
        with (
            opened(targets, files, options, write=emit, batch=True) as (held, take),
            progress_bars(quiet=quiet) as bar,
        ):
            for number, report in checked(files, held, options, running, bar):
                take(number, report)
                if targets.jsonl != STDOUT:
                    emit(to_line(report, console()), styled=True)
    except OutputError as error:  # a hook failed or the disk is full; the next file may succeed
        fail(str(error), error.exit_code)
