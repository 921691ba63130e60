"""End to end on whole videos: shift by a known amount, re-encode, check, compare."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from avsync import media, pipeline
from avsync.batch import MEDIA_SUFFIXES
from avsync.demo import write_demo
from avsync.errors import AvsyncError, MediaError, UsageError
from avsync.records import Report

LIMITS_MS = (20, 40, 80)
FRAME_RATES: tuple[Fraction | None, ...] = (
    Fraction(25),
    Fraction(24),
    Fraction(30000, 1001),
    Fraction(60),
    None,
)
"""Frame rates that the copies are stored at, in turn; None keeps the clip's own."""
MAX_SHIFT_MS = 400.0
DEMO_CLIPS = 4
DEMO_CLIP_S = 6.0


@dataclass(frozen=True)
class Case:
    """One altered copy of a clip: its audio is `shift_ms` early (negative: late), stored at `fps`."""

    clip: Path
    shift_ms: float
    fps: Fraction | None


@dataclass(frozen=True)
class Outcome:
    """What `check` said of one case. `error_ms` is measured minus known, None when it gave no offset."""

    case: Case
    verdict: str
    offset_ms: float | None
    error_ms: float | None
    probability: float
    uncertainty_ms: float | None
    reasons: tuple[str, ...]

    @property
    def answered(self) -> bool:
        """Whether the tool committed itself to an offset."""
        return self.verdict in ("in-sync", "out-of-sync")


def find_clips(folder: Path) -> list[Path]:
    """Videos directly in `folder`, sorted. Raises UsageError when there is none."""
    clips = sorted(p for p in folder.iterdir() if p.suffix.lower() in MEDIA_SUFFIXES)
    if not clips:
        raise UsageError(f"There is no video in {folder}; give a folder of clips that are in sync.")
    return clips


def plan_cases(clips: Sequence[Path], shifts: int, seed: int = 0) -> list[Case]:
    """`shifts` cases a clip: amounts drawn evenly from -400..+400 ms, frame rates in turn."""
    draw = random.Random(seed)  # noqa: S311 (not a secret)
    cases = []
    for clip in clips:
        for i in range(shifts):
            low = -MAX_SHIFT_MS + 2 * MAX_SHIFT_MS * i / shifts
            shift = draw.uniform(low, low + 2 * MAX_SHIFT_MS / shifts)
            cases.append(Case(clip, round(shift), FRAME_RATES[len(cases) % len(FRAME_RATES)]))
    return cases


def write_case(case: Case, target: Path) -> None:
    """The altered copy as H.264 and AAC. Raises MediaError when ffmpeg cannot make it."""
    seconds = abs(case.shift_ms) / 1000
    moved = f"atrim=start={seconds}" if case.shift_ms > 0 else f"adelay={seconds * 1000:.3f}:all=1"
    audio = f"aresample=async=1:first_pts=0,{moved},asetpts=PTS-STARTPTS"
    # The filter takes the nearest picture; the option -r would let them lag by up to a frame.
    rate = "" if case.fps is None else f",fps={case.fps}:round=near"
    command = [
        *[media.ffmpeg_path(), "-nostdin", "-v", "error", "-y", "-i", f"file:{case.clip.resolve()}"],
        *["-map", "0:v:0", "-map", "0:a:0", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"],
        *[
            "-pix_fmt",
            "yuv420p",
            "-vf",
            f"scale=trunc(iw/2)*2:trunc(ih/2)*2{rate}",
            "-af",
            audio,
            "-c:a",
            "aac",
        ],
        *["-b:a", "128k", f"file:{target.resolve()}"],
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        detail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MediaError(f"{case.clip} could not be re-encoded: {' '.join(detail)}")


def run(
    cases: Sequence[Case], model: str, progress: Callable[[int, int], None] | None = None
) -> Iterator[Outcome]:
    """Checks every case in turn."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        for number, case in enumerate(cases, 1):
            target = Path(folder) / "case.mp4"
            write_case(case, target)
            yield outcome(case, _checked(target, model))
            if progress:
                progress(number, len(cases))


def run_demo_set(model: str, count: int, seconds: float) -> Iterator[Outcome]:
    """Checks `count` made talking faces, each with a known error; nothing is needed but the package."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        for seed, case in enumerate(plan_cases([Path("demo.mp4")], count)):
            video = write_demo(
                Path(folder) / f"{seed}.mp4", offset_ms=case.shift_ms, seed=seed, duration_s=seconds
            )
            yield outcome(replace(case, clip=Path(f"demo-{seed}"), fps=None), _checked(video, model))


def _checked(path: Path, model: str) -> Report:
    try:
        return pipeline.check(path, model=model)
    except AvsyncError as error:
        return Report(str(path), "error", reasons=(str(error),))


def outcome(case: Case, report: Report) -> Outcome:
    """The report of a case beside what is known of it."""
    error = None if report.offset_ms is None else report.offset_ms - case.shift_ms
    return Outcome(
        case,
        report.verdict,
        report.offset_ms,
        error,
        report.probability,
        report.uncertainty_ms,
        report.reasons,
    )


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """Share answered, and of the answered: median absolute error, bias, share within each limit, ms."""
    answered = np.array([o.error_ms for o in outcomes if o.answered and o.error_ms is not None])
    every = np.array([o.error_ms for o in outcomes if o.error_ms is not None])
    row: dict[str, float | int | None] = {
        "cases": len(outcomes),
        "answered_share": len(answered) / len(outcomes) if outcomes else None,
        "median_error_ms": float(np.median(np.abs(answered))) if len(answered) else None,
        "bias_ms": float(np.median(answered)) if len(answered) else None,
        "within_40ms_of_all": float(np.mean(np.abs(every) <= 40)) * len(every) / len(outcomes)
        if len(every)
        else None,
    }
    for limit in LIMITS_MS:
        row[f"within_{limit}ms"] = float(np.mean(np.abs(answered) <= limit)) if len(answered) else None
    return row


def as_dict(outcome: Outcome) -> dict[str, object]:
    """Plain values for JSON."""
    return {
        "clip": outcome.case.clip.name,
        "shift_ms": outcome.case.shift_ms,
        "fps": None if outcome.case.fps is None else float(outcome.case.fps),
        "verdict": outcome.verdict,
        "offset_ms": outcome.offset_ms,
        "error_ms": outcome.error_ms,
        "probability": outcome.probability,
        "uncertainty_ms": outcome.uncertainty_ms,
        "reasons": list(outcome.reasons),
    }
