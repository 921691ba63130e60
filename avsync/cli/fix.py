"""`avsync fix-offset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from avsync.cli.console import emit, guarded
from avsync.cli.options import (
    AudioTrack,
    Device,
    FaceDetector,
    MaxDrift,
    MaxOffset,
    Model,
    Quiet,
    Sample,
    Standard,
    Stride,
)
from avsync.core.constants import DEFAULT_MODEL, MAX_DRIFT_MS_PER_MIN, MAX_OFFSET_MS, METHODS
from avsync.core.options import CheckOptions


@guarded
def fix_offset(
    src: Annotated[Path, typer.Argument(metavar="IN", help="The video to repair; it is left as it is.")],
    dst: Annotated[Path, typer.Argument(metavar="OUT", help="The repaired video to write.")],
    offset_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS", help="The error to remove: above 0 the audio is early. By default it is measured."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if it exists; shift also what is in tolerance.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the ffmpeg command and write nothing.")
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="copy: one shift, nothing re-encoded; retime: follow drift and jumps, which re-encodes the "
            "audio track.",
        ),
    ] = METHODS[0],
    model: Model = DEFAULT_MODEL,
    standard: Standard = CheckOptions.standard,
    max_offset_ms: MaxOffset = MAX_OFFSET_MS,
    max_drift: MaxDrift = MAX_DRIFT_MS_PER_MIN,
    audio_track: AudioTrack = None,
    face_detector: FaceDetector = CheckOptions.face_detector,
    device: Device = CheckOptions.device,
    stride: Stride = None,
    sample: Sample = CheckOptions.sample,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    quiet: Quiet = False,
) -> int:
    """Bring the audio of a video into sync.

    By default nothing is re-encoded: every stream, chapter and tag is kept, and
    only timestamps move. Where the audio drifts or jumps no single shift helps;
    --method retime resamples, cuts and pads the audio track, re-encodes it, and
    copies all else. OUT appears only when the result was verified. A file in
    tolerance is left alone.

    [bold]Exit codes[/bold]
    0  repaired, or nothing to repair
    1  repaired, but still out of tolerance: no shift removes the rest
    2  wrong usage, such as an OUT that exists
    3  cannot tell the error, or the method does not mend it; nothing is written
    4  a file or a model cannot be used

    [bold]Examples[/bold]
    avsync fix-offset in.mp4 out.mp4
    avsync fix-offset in.mp4 out.mp4 --offset-ms 120
    avsync fix-offset in.mkv out.mkv --method retime
    avsync fix-offset in.mkv out.mkv --dry-run
    """
    from avsync.cli.progress import progress_bars, staged
    from avsync.core.text import printable
    from avsync.report.document import SCHEMA, to_dict

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
            model=model,
            standard=standard,
            max_offset_ms=max_offset_ms,
            max_drift_ms_per_min=max_drift,
            audio_track=audio_track,
            face_detector=face_detector,
            device=device,
            stride=stride,
            sample=sample,
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
