"""What Python users call for a verdict or a repair: `check`, `check_many`, `fix_offset`.

The stages of a check one by one are in `pipeline.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from avsync.batch import run as batch
from avsync.batch.inputs import find_media
from avsync.core.constants import DEFAULT_MODEL, Engine, Method
from avsync.core.options import CheckKeywords, Limits, MeasureKeywords, check_options, fix_options
from avsync.core.report import Report
from avsync.pipeline.run import Progress, measure
from avsync.pipeline.sources import Source, measure_source
from avsync.repair import fix

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded

BatchProgress = Callable[[Path, str, float, float | None], None]
"""progress(file, stage, done, total): `total` is None where it is not known."""


def check(
    source: Source,
    *,
    model: str | Path | Loaded = DEFAULT_MODEL,
    progress: Progress | None = None,
    **options: Unpack[MeasureKeywords],
) -> Report:
    """Measure by how much the audio of a video is early or late, and compare it with a standard.

    Args:
        source: the video: the path of a file, a file object opened in binary mode (read from where it stands
            to its end), or a `Recording`: arrays of frames with times and samples with a rate.
        model: its name, the path of its checkpoint, or what `load_model` returned.
        progress: called as progress(stage, done, total) while the file is read and scored.
        **options: the other fields of `CheckOptions`: standard, max_offset_ms, max_drift_ms_per_min,
            min_judged, audio, audio_track, face_detector, device, stride, sample, precision, start_s,
            duration_s.

    Returns:
        The report. A file that can be read but not measured has the verdict "cannot-tell" and its reasons.

    Raises:
        UsageError: an option is wrong.
        MediaError: the file cannot be read.
        ModelError: the checkpoint cannot be used.
        Interrupted: Ctrl-C, a KeyboardInterrupt whose `so_far` is the Report on what was scored by then.
    """
    name, loaded = _named(model)
    return measure_source(source, check_options(model=name, **options), progress, loaded)


def check_many(
    paths: Iterable[str | Path],
    *,
    workers: int | None = None,
    engine: Engine = "local",
    limits: Limits = Limits(),
    progress: BatchProgress | None = None,
    **options: Unpack[CheckKeywords],
) -> Iterator[Report]:
    """Check many videos in processes of their own, and give each report as soon as it is there.

    A script that calls this needs the usual `if __name__ == "__main__":`.

    Args:
        paths: videos, folders of videos, and lists of videos (.txt, .csv), as for `avsync check`.
        workers: how many files are checked at a time; None: one, or with Ray as many as it has processors.
        engine: "local", or "ray" for the cluster at $RAY_ADDRESS.
        limits: the time and memory that one file may take.
        progress: called as progress(file, stage, done, total).
        **options: as in `check`; the model by its name or path.

    Returns:
        An iterator of reports. A file that cannot be checked has the verdict "error" and the sentence in its
        reasons; it does not stop the rest. To stop early, close the iterator, and the processes end.

    Raises:
        UsageError: an option is wrong, or Ray is not installed.
        MediaError: there is no video to check.
        ModelError: there is no such model.
    """
    chosen = check_options(**options)
    files = find_media([Path(path) for path in paths])
    if engine != "ray":  # the machines of a cluster have models of their own
        from avsync.networks.library import require

        require(chosen.model)

    def show(number: int, stage: str, done: float, total: float | None) -> None:
        if progress is not None:
            progress(files[number], stage, done, total)

    checked = batch.check_many(files, chosen, workers=workers, engine=engine, limits=limits, show=show)
    return (report for _, report in checked)


def fix_offset(
    src: str | Path,
    dst: str | Path,
    *,
    offset_ms: float | None = None,
    force: bool = False,
    dry_run: bool = False,
    method: Method = "copy",
    model: str | Path | Loaded = DEFAULT_MODEL,
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    **options: Unpack[MeasureKeywords],
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
        model: as in `check`.
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
    name, loaded = _named(model)
    measured_by = check_options(model=name, **options)
    if method == "retime" and measured_by.sample == "auto":
        # A jump can only be placed where the video was scored.
        measured_by = replace(measured_by, sample="exhaustive")
    chosen = fix_options(offset_ms=offset_ms, force=force, dry_run=dry_run, method=method, check=measured_by)
    return fix.fix_offset(
        Path(src),
        Path(dst),
        chosen,
        measure=lambda path: measure(path, chosen.check, progress, loaded),
        progress=progress,
        announce=announce,
    )


def _named(model: str | Path | Loaded) -> tuple[str, Loaded | None]:
    """The name that a report calls a model by, and the model, where it is loaded."""
    return (str(model), None) if isinstance(model, str | Path) else (model.name, model)
