"""The options of `check` and `fix_offset`: one list of their names, types, ranges and defaults.

Pydantic checks them, so that a wrong value is refused before any work begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar, Unpack

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from avsync.core import plugins
from avsync.core.constants import (
    DEFAULT_MODEL,
    DETECTORS,
    FRAME_MS,
    MAX_DRIFT_MS_PER_MIN,
    MAX_OFFSET_MS,
    MIN_JUDGED,
    Detector,
    Device,
    Hwaccel,
    Method,
    Precision,
    Sample,
    Standard,
)
from avsync.core.errors import OptionError, UsageError
from avsync.core.invalid import first_invalid

MIN_SEARCH_MS = 2 * FRAME_MS
MAX_SEARCH_MS = 60_000.0
MAX_SHIFT_MS = 3_600_000.0
STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
"""A string is not a number, True is not 1, and neither NaN nor infinity is a duration."""

Tolerance = Annotated[float, Field(gt=0, le=MAX_SEARCH_MS)]
AnyPath = Annotated[Path, Field(strict=False)]


def _known_detector(name: str) -> str:
    """Raises ValueError for a name that is neither built in nor another package's."""
    if name not in DETECTORS and name not in (more := plugins.names("avsync.detectors")):
        raise ValueError(f"should be one of {', '.join((*DETECTORS, *more))}")
    return name


AnyDetector = Annotated[str, AfterValidator(_known_detector)]
Made = TypeVar("Made")


@dataclass(frozen=True, config=STRICT)
class CheckOptions:
    """Options of `avsync check`; durations in ms. Made by `check_options`, which words the errors."""

    model: str = DEFAULT_MODEL
    """Name of a checkpoint, or a path to one."""
    standard: Standard = "ebu"
    """Tolerance to apply; see TOLERANCES_MS."""
    tolerance_ms: tuple[Tolerance, Tolerance] | None = None
    """Largest error in tolerance, (audio early, audio late), instead of the standard's."""
    profile: str | None = None
    """QC profile that sets the limits which are not given: a name, or the path of a YAML file."""
    max_offset_ms: Annotated[float, Field(ge=MIN_SEARCH_MS, le=MAX_SEARCH_MS)] = MAX_OFFSET_MS
    """Largest offset searched, either way."""
    max_drift_ms_per_min: Annotated[float, Field(ge=0, le=MAX_SEARCH_MS)] = MAX_DRIFT_MS_PER_MIN
    """Largest drift in tolerance, either way."""
    min_judged: Annotated[float, Field(ge=0, le=1)] = MIN_JUDGED
    """Share of the speech over visible talking faces that must be scored for the verdict "in-sync"."""
    min_fault_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Shortest local fault, in seconds, that puts a video out of sync; shorter ones are only listed."""
    audio: AnyPath | None = None
    """A separate audio file to compare with the video, instead of the video's own audio."""
    audio_track: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Which of the file's audio tracks (0 is the first); None: the default track."""
    face_detector: AnyDetector = "centerface"
    """One of `constants.DETECTORS`, or one that another package brings."""
    device: Device = "auto"
    stride: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Frames between scored windows; None: every frame of a short file, fewer of a long one."""
    sample: Sample = "auto"
    """How much of a long file is scored."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Where the part that is checked begins, in seconds of the file, which the report keeps to."""
    duration_s: Annotated[float, Field(gt=0)] | None = None
    """How long that part is; None: up to the end."""
    allow_playlists: bool = False
    """Whether an HLS playlist is read, which names other files of its folder, or addresses of its host."""
    precision: Precision = "auto"
    """Precision of the network on a CPU; "float32" is slower and changes no decision."""
    hwaccel: Hwaccel = "off"
    """Device that decodes the video; where it cannot, the processor does."""


class MeasureKeywords(TypedDict, total=False):
    """The fields of `CheckOptions` but the model as keyword arguments, for type checkers."""

    standard: Standard
    tolerance_ms: tuple[float, float] | None
    profile: str | Path | None
    max_offset_ms: float
    max_drift_ms_per_min: float
    min_judged: float
    min_fault_s: float
    audio: str | Path | None
    audio_track: int | None
    face_detector: Detector | str
    device: Device
    stride: int | None
    sample: Sample
    start_s: float
    duration_s: float | None
    allow_playlists: bool
    precision: Precision
    hwaccel: Hwaccel


class CheckKeywords(MeasureKeywords, total=False):
    """All fields of `CheckOptions` as keyword arguments."""

    model: str | Path


@dataclass(frozen=True, config=STRICT)
class FixOptions:
    """Options of `avsync fix-offset`. Made by `fix_options`, which words the errors."""

    offset_ms: Annotated[float, Field(ge=-MAX_SHIFT_MS, le=MAX_SHIFT_MS)] | None = None
    """The offset to remove (positive: the audio is early); None: measure it."""
    force: bool = False
    dry_run: bool = False
    method: Method = "copy"
    """"copy" shifts the audio without re-encoding; "retime" follows drift and jumps, and re-encodes the audio
    track that was measured."""
    check: CheckOptions = CheckOptions()


def check_options(**options: Unpack[CheckKeywords]) -> CheckOptions:
    """CheckOptions from keywords; a profile sets what they do not.

    Raises:
        OptionError: an option cannot have its value.
        UsageError: there is no such option or profile, or two options contradict each other.
    """
    from avsync.core.profiles import load_profile

    if "model" in options:
        options["model"] = str(options["model"])
    given: dict[str, Any] = dict(options)
    if given.get("profile") is not None:
        profile = load_profile(str(given["profile"]))
        limits = profile.options
        if "standard" in given:  # a standard that is asked for replaces the profile's own tolerance
            limits = {name: value for name, value in limits.items() if name != "tolerance_ms"}
        given = {**limits, **given, "profile": str(given["profile"])}
    chosen = _validated(CheckOptions, given)
    if chosen.audio is not None and chosen.audio_track is not None:
        raise UsageError("Give either a separate audio file or an audio track of the video, not both.")
    return chosen


def as_keywords(options: CheckOptions) -> CheckKeywords:
    """The options as the keywords that give the same again."""
    return {field.name: getattr(options, field.name) for field in fields(options)}  # type: ignore[return-value]


def fix_options(**options: Any) -> FixOptions:
    """FixOptions from keywords; raises OptionError or UsageError."""
    return _validated(FixOptions, options)


def plain(options: CheckOptions) -> dict[str, Any]:
    """The options by name, as JSON has them."""
    return {name: _plain(value) for name, value in asdict(options).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _validated(make: Callable[..., Made], options: dict[str, Any]) -> Made:
    """`make(**options)`, with what pydantic finds wrong first as one of avsync's errors."""
    try:
        return make(**options)
    except ValidationError as error:
        invalid = first_invalid(error)
        name = str(invalid.path[0])
        if invalid.unknown:
            known = ", ".join(field.name for field in fields(make))  # pyright: ignore[reportArgumentType]
            raise UsageError(f"There is no option {name!r}; the options are {known}.") from error
        raise OptionError(name, f"{invalid.wrong}.") from error


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds (None: `most_seconds`, as long as it makes progress at least every
    `silence_seconds`), and memory of the process that checks it, libraries included."""

    seconds: float | None = None
    memory_bytes: int = 1_800_000_000
    silence_seconds: float = 1800.0
    most_seconds: float = 6 * 3600.0

    @property
    def total_seconds(self) -> float:
        """After this time a file is given up in any case."""
        return self.most_seconds if self.seconds is None else self.seconds
