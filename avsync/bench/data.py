"""The clips to evaluate models on, from a prepared cache that is filled first if necessary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avsync.core.errors import MediaError, UsageError
from avsync.core.files import read_json
from avsync.data.labels import evenly
from avsync.data.prepare import prepare
from avsync.data.shards import Store
from avsync.data.sources import Source, find_sources
from avsync.distill.run import default_cache

Progress = Callable[[int, int, str], None]


def open_clips(
    data: Path,
    splits: tuple[str, ...],
    *,
    cache: Path | None = None,
    limit: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Store]:
    """The clips of each of `splits` (one split each, or several with commas), at most `limit` (0: all) evenly
    spaced in each.

    `data` is what `avsync train --data` takes, or a prepared cache, which is only read.

    Raises:
        MediaError: the first of the splits has no usable clip, or a clip cannot be prepared.
        UsageError: there is nothing at `data`.
    """
    if is_cache(data):
        stores = [Store(data, split.split(","), min_windows=2) for split in splits]
        stores = [store.select(_among(evenly([c.id for c in store.clips], limit))) for store in stores]
    else:
        found = find_sources(data)
        chosen = {split: evenly([s for s in found if s.split in split.split(",")], limit) for split in splits}
        if not chosen[splits[0]]:
            raise MediaError(_missing(data, splits[0], {s.split for s in found}))
        where = cache or default_cache(data)
        _fill([source for part in chosen.values() for source in part], where, workers, progress)
        stores = [
            Store(where, split.split(","), min_windows=2).select(_among([source.id for source in part]))
            for split, part in chosen.items()
        ]
    if not len(stores[0]):
        raise MediaError(_missing(data, splits[0], set()))
    return stores


def is_cache(folder: Path) -> bool:
    """Whether the folder holds prepared shards."""
    return any(folder.glob("[0-9]*.json")) and any(folder.glob("[0-9]*.frames"))


def read_groups(path: Path) -> dict[str, str]:
    """Clip id or prefix -> label. Raises UsageError if the file holds something else."""
    try:
        return {str(name): str(label) for name, label in read_json(path).items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"The groups {path} cannot be read: they must map clip ids to labels ({error})."
        ) from error


def _among(ids: list[str]) -> Callable[..., bool]:
    known = set(ids)
    return lambda clip: clip.id in known


def _fill(sources: list[Source], cache: Path, workers: int, progress: Progress | None) -> None:
    """Prepare what is missing in the cache."""
    ready = {(c.split, c.id) for c in Store(cache).clips} if cache.is_dir() else set()
    if any((source.split, source.id) not in ready for source in sources):
        prepare(sources, cache, workers=workers, progress=progress)


def _missing(data: Path, split: str, present: set[str]) -> str:
    has = f"; it has: {', '.join(sorted(present))}" if present else ""
    return f"{data} has no usable clip of the split {split}{has}. Name another with --split."
