"""What Python users call: `check` and `fix_offset`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsync.core.constants import METHODS, SAMPLES
from avsync.core.options import FixOptions, check_options, number, one_of
from avsync.core.records import Report
from avsync.pipeline.run import Progress, measure
from avsync.repair import fix

if TYPE_CHECKING:
    pass


MAX_SHIFT_MS = 3_600_000.0


def check(path: str | Path, *, progress: Progress | None = None, **options: Any) -> Report:
    """Measure by how much the audio of a video is early or late, and judge it by a standard.

    `options` are the fields of `settings.CheckOptions`: model, standard, max_offset_ms, max_drift_ms_per_min,
    audio, audio_track, face_detector, device, stride, sample. A file that is fine but cannot be judged gives
    the verdict "cannot-tell" with the reasons. Raises UsageError for a wrong option, MediaError for a file
    that cannot be read, ModelError for a checkpoint that cannot be used. Ctrl-C raises Interrupted, a
    KeyboardInterrupt whose `so_far` is the Report on what was judged by then.
    """
    return measure(Path(path), check_options(**options), progress)


def fix_offset(
    src: str | Path,
    dst: str | Path,
    *,
    offset_ms: float | None = None,
    force: bool = False,
    dry_run: bool = False,
    method: str = METHODS[0],
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Any,
) -> fix.FixResult:
    """Write `dst`: `src` with its audio in sync.

    `method` "copy" shifts the audio and re-encodes nothing; "retime" also follows drift and jumps, and
    re-encodes the audio track that it judges by, which `announce` is told before. `offset_ms` is the error to
    remove (positive: the audio is early); None measures it, with the same `options` as `check`. Raises
    UsageError for a wrong request, CannotTell when the method is not known to mend the file, MediaError when
    a file cannot be read or its copy would not be a true one, SetupError without ffmpeg, OutputError
    when `dst` cannot be written.
    """
    one_of("method", method, METHODS)
    if offset_ms is not None:
        number("offset_ms", offset_ms, -MAX_SHIFT_MS, MAX_SHIFT_MS)
    if method == "retime" and options.get("sample", SAMPLES[0]) == SAMPLES[0]:
        # Each cut and each stretch between two of them must be known.
        options["sample"] = "exhaustive"
    check_by = check_options(**options)
    if method == "retime" and check_by.sample == SAMPLES[0]:
        # Where a jump lies can be told only where the video was looked at.
        check_by = replace(check_by, sample="exhaustive")
    chosen = FixOptions(offset_ms, force, dry_run, method, check_by)
    return fix.fix_offset(
        Path(src),
        Path(dst),
        chosen,
        measure=lambda path: measure(path, chosen.check, progress),
        progress=progress,
        announce=announce,
    )
