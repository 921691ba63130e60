"""`avsync fix-offset`, and `avsync demo`, which shows what checking and fixing do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from avsync.cli_options import (
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
from avsync.console import emit, guarded
from avsync.errors import EXIT_ERROR, EXIT_IN_SYNC
from avsync.settings import DEFAULT_MODEL, MAX_DRIFT_MS_PER_MIN, MAX_OFFSET_MS, METHODS, CheckOptions


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
) -> None:
    """Bring the audio of a video into sync.

    By default nothing is re-encoded: every stream, chapter and tag is kept, and
    only timestamps move. Where the audio drifts or jumps no single shift helps;
    --method retime resamples, cuts and pads the audio track, re-encodes it, and
    copies all else. OUT appears only when the result was verified. A file in
    tolerance is left alone.

    [bold]Exit codes[/bold]
    0  repaired, or nothing to repair
    2  wrong usage, such as an OUT that exists
    3  cannot tell the error, or the method does not mend it; nothing is written
    4  a file or a model cannot be used

    [bold]Examples[/bold]
    avsync fix-offset in.mp4 out.mp4
    avsync fix-offset in.mp4 out.mp4 --offset-ms 120
    avsync fix-offset in.mkv out.mkv --method retime
    avsync fix-offset in.mkv out.mkv --dry-run
    """
    from avsync import pipeline
    from avsync.progress import progress_bars, staged
    from avsync.report import SCHEMA, printable, to_dict

    with progress_bars(quiet=quiet) as bar:
        result = pipeline.fix_offset(
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


@guarded
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the two clips go.")] = Path(
        "avsync-demo"
    ),
    model: Model = DEFAULT_MODEL,
    device: Device = CheckOptions.device,
    quiet: Quiet = False,
) -> int:
    """Write a clip of a talking face with a known error, check it, fix it, check it again.

    Exits with 0 when the error was found and mended, else with 4.

    [bold]Examples[/bold]
    avsync demo
    avsync demo --out /tmp/demo --model student.safetensors
    """
    from avsync.demo_run import run_demo
    from avsync.options import check_options
    from avsync.progress import progress_bars, staged

    options = check_options(model=model, device=device)
    with progress_bars(quiet=quiet) as bar:
        result = run_demo(out, lambda words: emit(f"{words}\n"), options, staged(bar))
    if result.agrees:
        emit("The known error was found and mended.\n")
        return EXIT_IN_SYNC
    emit("The known error was not found or not mended; the model is not fit for use.\n")
    return EXIT_ERROR
