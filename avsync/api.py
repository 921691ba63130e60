"""What Python users call: `check` and `fix_offset`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from avsync.core.constants import Method
from avsync.core.options import CheckKeywords, check_options, fix_options
from avsync.core.records import Report
from avsync.pipeline.run import Progress, measure
from avsync.repair import fix


def check(path: str | Path, *, progress: Progress | None = None, **options: Unpack[CheckKeywords]) -> Report:
    """Measure by how much the audio of a video is early or late, and compare it with a standard.

    Args:
        path: the video.
        progress: called as progress(stage, done, total) while the file is read and scored.
        **options: the fields of `CheckOptions`: model, standard, max_offset_ms, max_drift_ms_per_min, audio,
            audio_track, face_detector, device, stride, sample.

    Returns:
        The report. A file that can be read but not measured has the verdict "cannot-tell" and its reasons.

    Raises:
        UsageError: an option is wrong.
        MediaError: the file cannot be read.
        ModelError: the checkpoint cannot be used.
        Interrupted: Ctrl-C, a KeyboardInterrupt whose `so_far` is the Report on what was scored by then.
    """
    return measure(Path(path), check_options(**options), progress)


def fix_offset(
    src: str | Path,
    dst: str | Path,
    *,
    offset_ms: float | None = None,
    force: bool = False,
    dry_run: bool = False,
    method: Method = "copy",
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Unpack[CheckKeywords],
) -> fix.FixResult:
    """Write `dst`: `src` with its audio in sync.

    Args:
        src: the video to repair; it is left as it is.
        dst: the repaired video.
        offset_ms: the offset to remove (positive: the audio is early); None measures it.
        force: replace `dst` if it exists, and shift also what is in tolerance.
        dry_run: write nothing; the result holds the ffmpeg command.
        method: "copy" shifts the audio without re-encoding anything; "retime" also follows drift and jumps,
            and re-encodes the audio track that was measured.
        progress: as in `check`.
        announce: called with a sentence before an audio track is re-encoded.
        **options: as in `check`.

    Raises:
        UsageError: the request is wrong.
        CannotTell: the offset is not known, or the method does not repair this file.
        MediaError: a file cannot be read, or its copy would not be faithful.
        SetupError: ffmpeg is missing.
        OutputError: `dst` cannot be written.
    """
    measured_by = check_options(**options)
    if method == "retime" and measured_by.sample == "auto":
        # A jump can only be placed where the video was scored.
        measured_by = replace(measured_by, sample="exhaustive")
    chosen = fix_options(offset_ms=offset_ms, force=force, dry_run=dry_run, method=method, check=measured_by)
    return fix.fix_offset(
        Path(src),
        Path(dst),
        chosen,
        measure=lambda path: measure(path, chosen.check, progress),
        progress=progress,
        announce=announce,
    )
