"""One file of a batch, checked such that a failure becomes a report."""

from __future__ import annotations

import os
from pathlib import Path

from avsync.batch.inputs import _no_video
from avsync.core.errors import AvsyncError, MediaError, told, unexpected
from avsync.core.options import CheckOptions, plain
from avsync.core.report import Reason, Report
from avsync.pipeline.run import Progress
from avsync.pipeline.sources import measure_file


def check_safely(file: Path, options: CheckOptions, progress: Progress | None = None) -> Report:
    """`measure_file`, with an error turned into a report."""
    try:
        if "\0" in str(file):
            raise MediaError(
                f"{file} is not a file name: it holds a zero byte; check the list that it comes from."
            )
        if file.is_dir():
            raise MediaError(_no_video(file))
        return measure_file(file, options, progress)
    except AvsyncError as error:
        return failed(file, told(error), options)
    except Exception as error:
        return failed(file, unexpected(error), options)


def failed(file: Path, sentence: str, options: CheckOptions) -> Report:
    """The report of a file that could not be checked."""
    return Report(
        str(file),
        "error",
        standard=options.standard,
        model=options.model,
        reasons=(Reason("error", {"message": sentence}),),
        settings=plain(options),
    )


def limit_threads(threads: int) -> None:
    """Limit the threads that this process computes with; before PyTorch is imported, if it is."""
    import cv2

    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
