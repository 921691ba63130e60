"""The steps of `avsync demo`: make a clip with a known error, check it, fix it, check it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avsync.core.errors import MediaError
from avsync.core.options import CheckOptions, FixOptions
from avsync.core.report import Report
from avsync.demo.clip import write_demo
from avsync.pipeline.run import Progress, measure, prepared
from avsync.repair.fix import fix_offset
from avsync.report.summary import summary
from avsync.report.words import offset_words

DEMO_OFFSET_MS = 120.0
DEMO_TOLERANCE_MS = 20.0


@dataclass(frozen=True)
class DemoResult:
    """What `run_demo` made and measured; `agrees`: the known error was found and removed."""

    clip: Path
    fixed: Path
    offset_ms: float
    before: Report
    after: Report | None
    agrees: bool


def run_demo(
    folder: Path, tell: Callable[[str], None], options: CheckOptions, progress: Progress | None = None
) -> DemoResult:
    """Write a clip with a known error into `folder`, check it, fix it, check it again.

    `tell` is called with a sentence for each step. Raises ModelError if the model cannot be used, before
    anything is written, and MediaError if the folder cannot be made.
    """
    prepared(options.model, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"The folder {folder} cannot be made ({error.strerror}); give another --out."
        ) from error
    clip, fixed = folder / "clip.mp4", folder / "fixed.mp4"
    if progress:
        progress("demo", 0, None)
    write_demo(clip, offset_ms=DEMO_OFFSET_MS)
    tell(f"Wrote {clip}: a synthetic talking face, whose audio is {offset_words(DEMO_OFFSET_MS)}.")
    before = measure(clip, options, progress)
    tell(f"Checked it: {summary(before)}.")
    if before.offset_ms is None or abs(before.offset_ms - DEMO_OFFSET_MS) > DEMO_TOLERANCE_MS:
        return DemoResult(clip, fixed, DEMO_OFFSET_MS, before, None, False)
    shifted = FixOptions(offset_ms=before.offset_ms, force=True, check=options)
    result = fix_offset(clip, fixed, shifted, measure=lambda path: measure(path, options), progress=progress)
    tell(result.sentence)
    after = measure(fixed, options, progress)
    tell(f"Checked {fixed}: {summary(after)}.")
    agrees = before.verdict == "out-of-sync" and after.verdict == "in-sync"
    return DemoResult(clip, fixed, DEMO_OFFSET_MS, before, after, agrees)
