"""What is known about clips besides their media: speakers, and the delays that bring them into sync."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from avsync.core.errors import UsageError
from avsync.core.files import read_json, read_yaml
from avsync.data.shards import Store, StoredClip

Entry = TypeVar("Entry")


def of_speakers(store: Store, share: float) -> Store:
    """The clips of a share of the speakers, at least one speaker. The choice depends on the names alone, and
    a smaller share is a subset of a larger one, as a learning curve needs."""
    names = sorted(speakers(store), key=lambda name: hashlib.sha256(name.encode()).digest())
    kept = set(names[: max(1, round(share * len(names)))])
    return store.select(lambda clip: speaker(clip) in kept)


def speakers(store: Store) -> set[str]:
    """Everyone in `store`, by the folders of its clips."""
    return {speaker(clip) for clip in store.clips}


class Named(Protocol):
    """What has the id of a clip."""

    @property
    def id(self) -> str: ...


def speaker(clip: Named) -> str:
    """The speaker of a clip: its folder; a clip without one is its own speaker."""
    return clip.id.rsplit("/", 1)[0]


def shares(store: Store, balance: float) -> npt.NDArray[np.float64]:
    """Probability of drawing each clip: by its length, with a speaker's total damped by the power
    `balance`."""
    frames = store.windows.astype(np.float64)
    names = [speaker(clip) for clip in store.clips]
    spoken: dict[str, float] = {}
    for name, n in zip(names, frames, strict=True):
        spoken[name] = spoken.get(name, 0.0) + n
    share = frames / np.array([spoken[name] for name in names]) ** balance
    return share / share.sum()


DELAYS_BYTES = 1 << 26
"""Far more than the delays of the largest collection take."""


def read_delays(path: str | None) -> Mapping[str, float]:
    """Clip id, or a prefix of ids, to the ms by which the stored audio must be delayed."""
    if path is None:
        return {}
    try:
        values = read_json(Path(path)) if path.endswith(".json") else read_yaml(Path(path), DELAYS_BYTES)
        return {str(name): _finite(value) for name, value in values.items()}
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise UsageError(
            f"The delays {path} cannot be read: they must map clip ids to milliseconds ({error})."
        ) from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a time")
    return number


@dataclass(frozen=True)
class Recorded:
    """Where a clip was cut from: its recording, and the language spoken in it if known."""

    recording: str
    language: str = ""


def read_recordings(path: Path) -> dict[str, Recorded]:
    """Clip id -> where it was cut from, read from a CSV with the columns id, recording and optionally
    language.

    Raises:
        UsageError: the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {
                row["id"]: Recorded(row["recording"], row.get("language") or "")
                for row in csv.DictReader(file)
            }
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise UsageError(
            f"The recordings {path} cannot be read: a CSV with the columns id and recording is needed "
            f"({error})."
        ) from error


def delay_of(clip: StoredClip, delays: Mapping[str, float]) -> float | None:
    """The delay of the longest entry that is a prefix of the clip's id; None if there is none."""
    return entry_of(clip.id, delays)


def with_known_delays(store: Store, splits: Sequence[str], delays: Mapping[str, float]) -> Store:
    """`store` without the clips of `splits` whose delay is not known."""
    return store.select(lambda clip: clip.split not in splits or delay_of(clip, delays) is not None)


def entry_of(clip_id: str, entries: Mapping[str, Entry]) -> Entry | None:
    """The value of the longest key of `entries` that is a prefix of a clip's id; None if there is none."""
    fitting = [name for name in entries if clip_id.startswith(name)]
    return entries[max(fitting, key=len)] if fitting else None


T = TypeVar("T")


def evenly(items: list[T], limit: int) -> list[T]:
    """At most `limit` of the items (0: all), evenly spaced, so that speakers at the end of the list are
    included."""
    if not limit or len(items) <= limit:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
