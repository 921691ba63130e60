"""Prepare training clips in parallel, once, into the cache of `shards`.

An interrupted run continues with the clips that are not in a finished shard. Clips whose files have changed
are prepared again; those that were only copied or touched are not. Clips that cannot be used are listed with
the reason and never stop the rest.
"""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from filelock import FileLock

from avsync.core.errors import AvsyncError, MediaError, ModelError, unexpected
from avsync.core.files import FULL, disk_errors, write_whole
from avsync.data.cut import cut_prepared, cut_video, numbered_images
from avsync.data.shards import BrokenClip, ShardWriter, StoredClip, read_shards
from avsync.data.sources import Source, is_prepared
from avsync.media.images import cv2

Progress = Callable[[int, int, str], None]
"""progress(done, total, id of the clip just finished)."""


CLIPS_PER_SHARD = 64
BROKEN = "broken.csv"
NEEDED_BYTES = 1 << 28
"""Free bytes without which preparation does not begin."""


def prepare(
    sources: Sequence[Source],
    cache: Path,
    *,
    workers: int = 0,
    retry: bool = False,
    progress: Progress | None = None,
) -> list[BrokenClip]:
    """Bring the cache up to date with `sources`; returns the clips that cannot be used.

    `workers` 0 means one per core; `retry` tries unusable clips again.

    Raises:
        MediaError: the cache cannot be written, or no clip is usable.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):  # waits for another run that fills the same cache
        return _brought_up_to_date(sources, cache, workers, retry, progress)


def _brought_up_to_date(
    sources: Sequence[Source], cache: Path, workers: int, retry: bool, progress: Progress | None
) -> list[BrokenClip]:
    held = _held(cache)
    # If no clip at all was usable, something other than the clips was wrong.
    retry = retry or not any(isinstance(record, StoredClip) for record in held.values())
    missing = [s for s in sources if not _still_holds(held.get((s.split, s.id)), s.path, retry=retry)]
    if missing:
        _require_space(cache)
        number = max((int(stem.name) for stem, _, _ in read_shards(cache)), default=-1) + 1
        _run(missing, cache, number, workers or os.cpu_count() or 1, len(sources), progress)
        held = _held(cache)
    records = [held[key] for key in sorted({(s.split, s.id) for s in sources})]
    broken = [record for record in records if isinstance(record, BrokenClip)]
    _list_broken(cache, broken)
    if len(broken) == len(sources):
        why = broken[0].reason if broken else "there are none"
        raise MediaError(f"Not one of the {len(sources)} clips can be used; the first one: {why}")
    return broken


def _held(cache: Path) -> dict[tuple[str, str], StoredClip | BrokenClip]:
    """The latest record in the cache of each (split, id)."""
    return {(r.split, r.id): r for _, clips, broken in read_shards(cache) for r in (*clips, *broken)}


def _still_holds(record: StoredClip | BrokenClip | None, path: Path, *, retry: bool) -> bool:
    """Whether `record` describes the file at `path` as it is now. Its bytes are read only if size or time
    differ, as they do after copying."""
    if record is None or (retry and isinstance(record, BrokenClip)):
        return False
    return record.fingerprint == fingerprint(path) or record.content == content(path) != ""


def _require_space(cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < NEEDED_BYTES:
        raise MediaError(
            f"The disk of {cache} has only {free >> 20} MB left; make room or choose another --cache."
        )


def _run(
    missing: Sequence[Source], cache: Path, number: int, workers: int, total: int, progress: Progress | None
) -> None:
    """Write shards in parallel; each worker writes its own, so that no large arrays pass between
    processes."""
    size = max(1, min(CLIPS_PER_SHARD, -(-len(missing) // (4 * workers))))
    groups = [missing[i : i + size] for i in range(0, len(missing), size)]
    done = total - len(missing)
    with disk_errors(
        cache, "preparation stopped: free some space and run the same command, which continues where it was"
    ):
        for group in _written(groups, cache, number, workers):
            done += len(group)
            if progress:
                progress(done, total, group[-1].id)


def _written(
    groups: Sequence[Sequence[Source]], cache: Path, number: int, workers: int
) -> Iterator[Sequence[Source]]:
    """Yield each group once its shard is written."""
    if workers == 1:
        for i, group in enumerate(groups):
            write_shard(group, cache, number + i)
            yield group
        return
    # A fresh interpreter for each worker: forking a process that has run torch or OpenCV can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(groups)), context, initializer=_one_thread) as pool:
        jobs = {pool.submit(write_shard, group, cache, number + i): group for i, group in enumerate(groups)}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    """There are as many workers as cores, so more threads would only compete."""
    cv2.setNumThreads(1)


def write_shard(sources: Sequence[Source], cache: Path, number: int) -> None:
    """Prepare some clips into one shard."""
    writer = ShardWriter(cache, number)
    for source in sources:
        shared = (source.id, source.split, str(source.path), fingerprint(source.path))
        read = content(source.path)
        try:
            clip = cut_prepared(source.path) if is_prepared(source.path) else cut_video(source.path)
        except ModelError:  # a missing detector is not the clip's fault
            raise
        except AvsyncError as error:
            writer.add_broken(BrokenClip(*shared, str(error), read))
        except Exception as error:  # one bad file must not end hours of work
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            writer.add_broken(BrokenClip(*shared, unexpected(error), read))
        else:
            stored = StoredClip(*shared, len(clip.frames), len(clip.wave), clip.fps, read)
            writer.add(stored, [clip.frames], clip.wave)
    writer.close()


def fingerprint(path: Path) -> str:
    """Size and modification time of a source; "missing" if there is none."""
    try:
        stat = (path / "audio.wav" if path.is_dir() else path).stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def content(path: Path) -> str:
    """SHA-256 of a source's bytes, or of a prepared folder's audio and images; "" if they cannot be read."""
    files = [path / "audio.wav", *numbered_images(path)] if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()


def _list_broken(cache: Path, broken: Sequence[BrokenClip]) -> None:
    """Write the table of unusable clips, or remove it if there are none."""
    path = cache / BROKEN
    if not broken:
        path.unlink(missing_ok=True)
        return
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["split", "id", "source", "reason"])
    rows.writerows([b.split, b.id, b.source, b.reason] for b in broken)
    write_whole(path, table.getvalue().encode())
