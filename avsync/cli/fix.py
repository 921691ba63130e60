"""`avsync fix-offset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.check_options import CHECK_OPTIONS, Config, with_check_options
from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet
from avsync.core.constants import Method
from avsync.core.options import CheckKeywords, as_keywords

NOT_HERE = ("audio", "start_s", "duration_s", "allow_playlists")
"""Options of a check that do not apply to a repair, which is of one whole file."""


@guarded
@with_check_options(*(name for name in CHECK_OPTIONS if name not in NOT_HERE))
def fix_offset(
    context: typer.Context,
    src: Annotated[Path, typer.Argument(metavar="IN", help="The video to repair; it is not changed.")],
    dst: Annotated[Path, typer.Argument(metavar="OUT", help="The repaired video to write.")],
    offset_ms: Annotated[
        float | None,
        typer.Option(help="The offset to remove, positive if the audio is early. Default: measure it."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if it exists; shift even what is in tolerance.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the ffmpeg command and write nothing.")
    ] = False,
    method: Annotated[
        Method,
        typer.Option(
            help="copy: one shift, nothing re-encoded. retime: follow drift and jumps; re-encodes the audio."
        ),
    ] = "copy",
    *,
    check: CheckKeywords,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Quiet = False,
) -> int:
    """Bring the audio of a video into sync.

    By default nothing is re-encoded: every stream, chapter and tag is kept, and
    only timestamps change. Drift and jumps need --method retime, which resamples,
    cuts and pads the audio track, re-encodes it, and copies everything else. OUT
    appears only once the result has been verified. A file in tolerance is left
    alone.

    [bold]Exit codes[/bold]
    0  repaired, or nothing to repair
    1  repaired, but still out of tolerance: no shift removes the rest
    2  wrong usage, such as an OUT that exists
    3  the offset cannot be measured, or the method cannot repair it;
       nothing is written
    4  a file or a model cannot be used

    [bold]Examples[/bold]
    avsync fix-offset in.mp4 out.mp4
    avsync fix-offset in.mp4 out.mp4 --offset-ms 120
    avsync fix-offset in.mkv out.mkv --method retime
    avsync fix-offset in.mkv out.mkv --dry-run
    """
    from avsync.cli.progress import progress_bars, staged
    from avsync.cli.settings import settled, typed
    from avsync.core.document import SCHEMA
    from avsync.core.text import printable
    from avsync.report.document import to_dict

    with progress_bars(quiet=quiet) as bar:
        from avsync import api

        result = api.fix_offset(
            src,
            dst,
            offset_ms=offset_ms,
            force=force,
            dry_run=dry_run,
            method=method,
            progress=staged(bar),
            announce=lambda sentence: typer.echo(printable(sentence), err=True),
            **as_keywords(settled(typed(context, check), config)),
        )
    if as_json:
        document = {
            "schema": SCHEMA,
            "source": str(src),
            "target": str(dst),
            "written": result.written,
            "method": method,
            "offset_ms": round(result.offset_ms, 1),
            "settings": result.settings,
            "sentence": result.sentence,
            "command": result.command or None,
            "before": result.report_before and to_dict(result.report_before),
            "after": result.report_after and to_dict(result.report_after),
        }
        emit(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        emit(
            printable(result.sentence) + "\n" + (f"{result.command}\n" if dry_run and result.command else "")
        )
    return result.exit_code
