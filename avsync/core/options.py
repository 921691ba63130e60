"""Options from outside, checked: every wrong one is named before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from avsync.core.constants import (
    DEFAULT_MODEL,
    DETECTORS,
    FRAME_MS,
    MAX_DRIFT_MS_PER_MIN,
    MAX_OFFSET_MS,
    MIN_JUDGED,
    SAMPLES,
    STANDARDS,
    Device,
)
from avsync.core.errors import OptionError, UsageError

MIN_SEARCH_MS = 2 * FRAME_MS
MAX_SEARCH_MS = 60_000.0


def check_options(**options: Any) -> CheckOptions:
    """CheckOptions from keywords. Raises UsageError that names the wrong one."""
    names = [field.name for field in fields(CheckOptions)]
    if unknown := sorted(set(options) - set(names)):
        raise UsageError(f"There is no option {unknown[0]!r}; the options are {', '.join(names)}.")
    if options.get("audio") is not None:
        options["audio"] = Path(options["audio"])
    if "model" in options:
        options["model"] = str(options["model"])
    chosen = CheckOptions(**options)
    one_of("standard", chosen.standard, STANDARDS)
    one_of("face_detector", chosen.face_detector, DETECTORS)
    one_of("sample", chosen.sample, SAMPLES)
    one_of("device", chosen.device, get_args(Device))
    number("max_offset_ms", chosen.max_offset_ms, MIN_SEARCH_MS, MAX_SEARCH_MS)
    number("max_drift_ms_per_min", chosen.max_drift_ms_per_min, 0, MAX_SEARCH_MS)
    number("min_judged", chosen.min_judged, 0, 1)
    if chosen.audio_track is not None:
        number("audio_track", chosen.audio_track, 0, 1000, whole=True)
    if chosen.stride is not None:
        number("stride", chosen.stride, 1, 10_000, whole=True)
    if chosen.audio is not None and chosen.audio_track is not None:
        raise UsageError("Give either a separate audio file or an audio track of the video, not both.")
    return chosen


def plain(options: CheckOptions) -> dict[str, Any]:
    """The options by name, as JSON has them."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raises OptionError unless `value` is one of those allowed."""
    if value not in tuple(allowed):
        raise OptionError(name, f"cannot be {value!r}; choose one of {', '.join(allowed)}.")


def number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    """Raises OptionError unless `value` is a number from `low` to `high`."""
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise OptionError(name, f"cannot be {value!r}; it is {kind} from {low:.0f} to {high:.0f}.")


@dataclass(frozen=True)
class CheckOptions:
    """Options of `avsync check`; durations in ms, sizes in pixels."""

    model: str = DEFAULT_MODEL
    """Name of a checkpoint, or a path to one."""
    standard: str = "ebu"
    max_offset_ms: float = MAX_OFFSET_MS
    """Largest error searched, either way."""
    max_drift_ms_per_min: float = MAX_DRIFT_MS_PER_MIN
    """Largest drift in tolerance, either way."""
    min_judged: float = MIN_JUDGED
    """Share (0..1) of the speech over visible talking faces that must be judged for "in sync"."""
    audio: Path | None = None
    """A separate audio file to judge against the picture."""
    audio_track: int | None = None
    """Which of the file's audio tracks (0 is the first); None: the default track."""
    face_detector: str = "centerface"
    device: str = "auto"
    stride: int | None = None
    """Frames from one judged window to the next; None: every frame of short files, sparser in long ones."""
    sample: str = SAMPLES[0]
    """How much of a long file is looked at."""


@dataclass(frozen=True)
class FixOptions:
    """Options of `avsync fix-offset`."""

    offset_ms: float | None = None
    """The synchrony error to remove (positive: the audio is early); None: measure it."""
    force: bool = False
    dry_run: bool = False
    method: str = "copy"
    """"copy" shifts all of the audio and touches no packet; "retime" follows drift and jumps, and re-encodes
    the audio track that it judges by."""
    check: CheckOptions = CheckOptions()
