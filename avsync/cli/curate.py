"""`avsync curate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsync.cli.batch_options import Engine, FileMemory, FileTimeout, Json, Paths, Workers
from avsync.cli.check_options import with_check_options
from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet
from avsync.core.errors import EXIT_CANNOT_TELL, EXIT_ERROR, EXIT_IN_SYNC, UsageError
from avsync.core.options import CheckKeywords, Limits, check_options
from avsync.curate.criteria import Criteria

if TYPE_CHECKING:
    from avsync.curate.select import Selection

KEEPING = "What is kept"

Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="CSV list of what is kept. FILE.dropped.csv goes beside it, and FILE.jsonl with the results of "
        "each video, from which a later run continues.",
    ),
]
Cut = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Also cut clips: the face, 160 x 160 pixels, with audio in sync."),
]
MinLength = Annotated[
    float, typer.Option(rich_help_panel=KEEPING, min=0.2, help="Shortest stretch, in seconds.")
]
MaxLength = Annotated[
    float,
    typer.Option(rich_help_panel=KEEPING, min=1, help="Longest; longer ones are cut into equal parts."),
]
MinProbability = Annotated[
    float,
    typer.Option(
        rich_help_panel=KEEPING,
        min=0,
        max=1,
        help="Least probability of the offset (within 40 ms), and of the speaker.",
    ),
]
MinFace = Annotated[
    float, typer.Option(rich_help_panel=KEEPING, min=0, help="Least height of a face, in pixels.")
]
MinSpeech = Annotated[
    float,
    typer.Option(rich_help_panel=KEEPING, min=0, max=1, help="Least share of a stretch that is speech."),
]


@guarded
@with_check_options(
    *("model", "max_offset_ms", "max_drift_ms_per_min", "face_detector", "device", "stride", "precision")
)
def curate(
    paths: Paths = None,
    *,
    out: Out,
    cut: Cut = None,
    min_length: MinLength = Criteria.min_length_s,
    max_length: MaxLength = Criteria.max_length_s,
    min_probability: MinProbability = Criteria.min_probability,
    min_face: MinFace = Criteria.min_face_px,
    min_speech: MinSpeech = Criteria.min_speech,
    check: CheckKeywords,
    workers: Workers = None,
    engine: Engine = "local",
    file_timeout: FileTimeout = None,
    file_memory: FileMemory = Limits.memory_bytes // 1_000_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find the stretches of videos that are worth training on.

    In those, one visible face says everything, at a known offset.

    [bold]Exit codes[/bold]
    0  something was kept
    3  nothing was kept
    4  no video could be read
    2  wrong usage

    [bold]Examples[/bold]
    avsync curate downloads/ --out clips.csv
    avsync curate downloads/ --out data/clips.csv --cut data/clips --workers 4
    avsync train --data data/clips.csv --run-dir runs/first
    """
    from avsync.batch.inputs import find_media
    from avsync.cli.checking import Running, checked
    from avsync.cli.progress import progress_bars
    from avsync.curate import lists
    from avsync.curate.run import curate as curated
    from avsync.report.outputs import Targets, opened

    options = replace(check_options(**check), sample="exhaustive")
    criteria = Criteria(min_length, max_length, min_probability, min_face, min_speech)
    if not paths:
        raise UsageError("Nothing to curate was named; give videos, or a folder of them.")
    _prepare(out, cut, criteria)
    files = find_media(paths)
    if engine != "ray":  # the machines of a cluster have their own models
        from avsync.networks.library import require

        require(options.model)
    running = Running(Limits(file_timeout, file_memory * 1_000_000), workers, engine)
    found: dict[Path, Selection] = {}
    ledger = Targets(jsonl=out.with_suffix(".jsonl"), resume=True)
    with opened(ledger, files, options, write=emit, batch=True) as (reports, take):
        if reports and not quiet:
            typer.echo(f"{len(reports)} of {len(files)} videos are done already.", err=True)
        try:
            for number, report in list(reports.items()):
                found[files[number]] = curated(report, criteria, cut)
            with progress_bars(quiet=quiet) as bar:
                for number, report in checked(files, reports, options, running, bar):
                    take(number, report)
                    found[files[number]] = curated(report, criteria, cut)
        finally:
            # Even after Ctrl-C, keep what is done.
            in_order = {file: found[file] for file in files if file in found}
            lists.write_lists(out, in_order, cut)
            _print(in_order, as_json=as_json)
        unread = sum(report.verdict == "error" for report in reports.values())
    if unread == len(files):
        return EXIT_ERROR
    return EXIT_IN_SYNC if any(selection.kept for selection in found.values()) else EXIT_CANNOT_TELL


def _prepare(out: Path, cut: Path | None, criteria: Criteria) -> None:
    """Check the criteria and the targets before the work begins. Raises UsageError and OutputError."""
    from avsync.core.files import make_folder, ready
    from avsync.curate import lists

    if criteria.min_length_s > criteria.max_length_s:
        raise UsageError(
            f"--min-length {criteria.min_length_s:g} is more than --max-length {criteria.max_length_s:g}."
        )
    if out.suffix.lower() != ".csv":
        raise UsageError(f"{out} is not the name of a .csv file, which --out needs.")
    ready(out, lists.LIST, "--out")
    ready(lists.dropped_path(out), lists.LIST, "--out")
    if cut is not None:
        make_folder(cut)


def _print(found: dict[Path, Selection], *, as_json: bool) -> None:
    from avsync.curate import lists
    from avsync.report.curation import curation_words

    kept = sum(len(selection.kept) for selection in found.values())
    kept_s, dropped_s = lists.seconds_kept(found.values()), lists.seconds_by_reason(found.values())
    if as_json:
        counted = {"schema": 1, "videos": len(found), "kept": kept, "kept_s": round(kept_s, 1)}
        by_why = {why: round(seconds, 1) for why, seconds in dropped_s.items()}
        emit(json.dumps({**counted, "dropped_s": by_why}, indent=2) + "\n")
    else:
        emit(curation_words(kept, kept_s, len(found), dropped_s))
