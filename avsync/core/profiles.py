"""QC profiles: by what limits a file is judged, under one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avsync.core.constants import MAX_DRIFT_MS_PER_MIN, MIN_JUDGED, Standard
from avsync.core.errors import UsageError
from avsync.core.files import read_yaml
from avsync.core.invalid import Invalid, first_invalid

SUFFIXES = (".yaml", ".yml")
Milliseconds = Annotated[float, Field(gt=0, le=60_000)]


class Limits(BaseModel):
    """What a profile may set; names, units and meaning are those of the options of a check."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

    standard: Standard | None = None
    tolerance_ms: Annotated[list[Milliseconds], Field(min_length=2, max_length=2)] | None = None
    """Audio early, audio late."""
    max_drift_ms_per_min: Annotated[float, Field(ge=0, le=60_000)] | None = None
    min_judged: Annotated[float, Field(ge=0, le=1)] | None = None
    min_fault_s: Annotated[float, Field(ge=0, le=3600)] | None = None


@dataclass(frozen=True)
class Profile:
    """Options of a check by name, and where the numbers come from."""

    name: str
    options: dict[str, Any]
    source: str


OWN_NUMBERS = {"max_drift_ms_per_min": MAX_DRIFT_MS_PER_MIN, "min_judged": MIN_JUDGED, "min_fault_s": 0.0}
"""What no published document gives: avsync's own, the same in every profile that is built in."""

PROFILES = {
    name: Profile(name, {"standard": standard, **OWN_NUMBERS}, source)
    for name, standard, source in (
        (
            "ebu",
            "ebu",
            "EBU R 37 (2007): audio at most 40 ms early and 60 ms late where it leaves the production chain.",
        ),
        (
            "netflix",
            "netflix",
            'Netflix Partner Help, "Sync - Global Offset (Audio)": up to one frame is for information, from '
            "there on an issue.",
        ),
        (
            "atsc",
            "atsc",
            "ATSC IS-191 (2003): audio at most 15 ms early and 45 ms late at the input of the encoder.",
        ),
        (
            "itu",
            "itu",
            "ITU-R BT.1359-1 (1998): from 45 ms early and 125 ms late on viewers notice an error.",
        ),
    )
}


def load_profile(name: str) -> Profile:
    """The profile of that name, or the one in a YAML file.

    Raises:
        UsageError: there is none, or the file is none.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(PROFILES)
        raise UsageError(f"There is no profile {name!r}; the profiles are {known}, or give a .yaml file.")
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise UsageError(f"The profile {path} cannot be read: {error}.") from error
    if not isinstance(content, dict) or not content:
        raise UsageError(
            f"{path} is not a profile: it sets nothing; see the page on QC in the documentation."
        )
    source = content.pop("source", "")
    try:
        limits = Limits.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"The profile {path} cannot be used: {_wrong(first_invalid(error))}.") from error
    if not isinstance(source, str):
        raise UsageError(f"The profile {path} cannot be used: source must be text.")
    options = limits.model_dump(exclude_none=True)
    if "tolerance_ms" in options:
        options["tolerance_ms"] = tuple(map(float, options["tolerance_ms"]))
    return Profile(path.stem, options, source)


def _wrong(invalid: Invalid) -> str:
    name = ".".join(map(str, invalid.path))
    return f"there is no setting {name}" if invalid.unknown else f"{name} {invalid.wrong}"
