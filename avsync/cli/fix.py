"""`avsync fix-offset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.cli.check_options import CHECK_OPTIONS, Config, with_check_options
from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet
from avsync.core.constants import Method
from avsync.core.options import CheckKeywords, as_keywords

if TYPE_CHECKING:
    from avsync.repair.fix import FixResult

NOT_HERE = ("audio", "start_s", "duration_s", "allow_playlists")
"""Options of a check that do not apply to a repair, which is of one whole file."""

Source = Annotated[Path, typer.Argument(metavar="IN", help="The video to repair; it is not changed.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="The repaired video to write.")]
OffsetMs = Annotated[
    float | None,
    typer.Option(help="The offset to remove, positive if the audio is early. Default: measure it."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace OUT if it exists; shift even what is in tolerance.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the ffmpeg command and write nothing.")]
HowTo = Annotated[
    Method,
    typer.Option(
        help="copy: one shift, nothing re-encoded. retime: follow drift and jumps; re-encodes the audio."
    ),
]


@guarded
@with_check_options(*(name for name in CHECK_OPTIONS if name not in NOT_HERE))
def fix_offset(
    context: typer.Context,
    src: Source,
    dst: Target,
    offset_ms: OffsetMs = None,
    force: Force = False,
    dry_run: DryRun = False,
    method: HowTo = "copy",
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
    from avsync.core.text import printable

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
        document = {"source": str(src), "target": str(dst), "method": method, **_document(result)}
        emit(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        command = f"{result.command}\n" if dry_run and result.command else ""
        emit(f"{printable(result.sentence)}\n{command}")
    return result.exit_code


def _document(result: FixResult) -> dict[str, Any]:
    """What was done, as plain values."""
    from avsync.core.document import SCHEMA
    from avsync.report.document import to_dict

    return {
        "schema": SCHEMA,
        "written": result.written,
        "offset_ms": round(result.offset_ms, 1),
        "settings": result.settings,
        "sentence": result.sentence,
        "command": result.command or None,
        "before": result.report_before and to_dict(result.report_before),
        "after": result.report_after and to_dict(result.report_after),
    }
