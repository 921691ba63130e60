"""Decode, find the face, cut the mouth, read the audio: once, in parallel, into the cache of `shards`.

A run that was stopped continues with the clips that are not in a finished shard. Clips whose files have
changed are made again, those that were only copied or touched are not. What cannot be used is listed with
the reason and never stops the rest.
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
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from avsync.audio import waveform
from avsync.core.constants import (
    DECODE_LONG_SIDE,
    FACE_SIZE,
    MOUTH_HEIGHT,
    SAMPLE_RATE,
    WHOLE_FACE_SIZE,
    WINDOW_FRAMES,
)
from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.errors import AvsyncError, MediaError, ModelError, unexpected
from avsync.core.files import FULL, disk_errors, write_whole
from avsync.core.records import FaceTrack, Gap, Span
from avsync.core.streams import Media
from avsync.data.shards import MARGIN, SAMPLES_PER_FRAME, BrokenClip, ShardWriter, StoredClip, read_shards
from avsync.data.sources import Source, is_prepared
from avsync.faces import crop
from avsync.faces.track import find_tracks
from avsync.media import frames
from avsync.media.images import Image, cv2, resize
from avsync.media.probe import probe

Progress = Callable[[int, int, str], None]
"""progress(done, total, id of the clip just finished)."""

CutFace = Callable[[Image, npt.NDArray[np.float32]], Image]

CLIPS_PER_SHARD = 64
MIN_FRAMES = 2 * WINDOW_FRAMES
BROKEN = "broken.csv"
SILENT = 1e-4
"""Largest amplitude of audio without speech: -80 dB, a few steps of 16 bits."""
MAX_LOST_S = 0.1
"""Seconds of a clip that may be damaged: two frames, which augmentation repeats as often."""
JPEG_BEGIN, JPEG_END, JPEG_TAIL = b"\xff\xd8", b"\xff\xd9", 64
"""Marks round a JPEG image; a few bytes behind the last one do no harm."""
NEEDED_BYTES = 1 << 28
"""Free bytes without which preparation does not begin."""


@dataclass(frozen=True)
class Cut:
    """One clip as it is stored: `frames` uint8 (n, 68, 116, 3) RGB at 25 a second, `wave` int16 at 16 kHz
    whose first sample is heard with the first frame, `fps` of the source."""

    frames: npt.NDArray[np.uint8]
    wave: npt.NDArray[np.int16]
    fps: float


def prepare(
    sources: Sequence[Source],
    cache: Path,
    *,
    workers: int = 0,
    retry: bool = False,
    progress: Progress | None = None,
) -> list[BrokenClip]:
    """Bring the cache up to date with `sources`; returns the clips that cannot be used.

    `workers` 0 takes every core; `retry` tries the unusable ones again.

    Raises:
        MediaError: the cache cannot be written, or no clip is usable.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):  # another run that fills the same cache is waited for
        return _brought_up_to_date(sources, cache, workers, retry, progress)


def _brought_up_to_date(
    sources: Sequence[Source], cache: Path, workers: int, retry: bool, progress: Progress | None
) -> list[BrokenClip]:
    held = _held(cache)
    # Where not one clip was usable, something else than the clips was wrong.
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
    """What the cache knows of each (split, id); of several records the latest."""
    return {(r.split, r.id): r for _, clips, broken in read_shards(cache) for r in (*clips, *broken)}


def _still_holds(record: StoredClip | BrokenClip | None, path: Path, *, retry: bool) -> bool:
    """Whether `record` describes the file at `path` as it is now. Bytes are read only where size or time
    differ, as a copy's do."""
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
    """Write shards in parallel; each worker writes its own, so that no large data pass between processes."""
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
    """Each group once its shard is written."""
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
    """As many workers as cores: more threads in each would only get in each other's way."""
    cv2.setNumThreads(1)


def write_shard(sources: Sequence[Source], cache: Path, number: int) -> None:
    """Prepare some clips into one shard."""
    writer = ShardWriter(cache, number)
    for source in sources:
        shared = (source.id, source.split, str(source.path), fingerprint(source.path))
        read = content(source.path)
        try:
            clip = cut_prepared(source.path) if is_prepared(source.path) else cut_video(source.path)
        except ModelError:  # the detector is missing, which is no clip's fault
            raise
        except AvsyncError as error:
            writer.add_broken(BrokenClip(*shared, str(error), read))
        except Exception as error:  # one odd file must not end the work of hours
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            writer.add_broken(BrokenClip(*shared, unexpected(error), read))
        else:
            stored = StoredClip(*shared, len(clip.frames), len(clip.wave), clip.fps, read)
            writer.add(stored, [clip.frames], clip.wave)
    writer.close()


def fingerprint(path: Path) -> str:
    """Size and time of a source, which change when it does; "missing" where there is nothing."""
    try:
        stat = (path / "audio.wav" if path.is_dir() else path).stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def content(path: Path) -> str:
    """SHA-256 of a source's bytes, of a prepared folder those of its audio and images; "" where they cannot
    be read."""
    files = [path / "audio.wav", *_numbered(path)] if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()


def cut_video(path: Path) -> Cut:
    """The mouth of the main face of a video, and its audio, by the product's own stages.

    Raises:
        AvsyncError: the video cannot be read, shows no face for long enough, or a part of it that would be
            used is damaged: what decoders make up there would be learned.
    """
    found = _with_video(path)
    track, first, stop = main_face(path, find_tracks(found))
    gaps: list[Gap] = []
    images = list(_frames(found, track, first, stop, _region, gaps.append))
    audio = waveform.waveform(found)
    start_s = track.start_s + first / FPS
    lost = [(gap.start_s, gap.end_s) for gap in gaps if gap.damaged]
    _refuse_damage(path, [*lost, *audio.undecoded], (start_s, track.start_s + stop / FPS))
    wave = _aligned(audio.samples, round((start_s - audio.start_s) * SAMPLE_RATE), len(images))
    return Cut(np.stack(images), wave, float(found.video.fps if found.video else FPS))


def main_face_frames(path: Path, cut: CutFace) -> Iterator[Image]:
    """The frames of a video that `cut_video` takes, each as `cut` makes it of (frame, face box).

    Raises:
        AvsyncError: the video cannot be read, or shows no face for long enough.
    """
    found = _with_video(path)
    yield from _frames(found, *main_face(path, find_tracks(found)), cut)


def _with_video(path: Path) -> Media:
    found = probe(path)
    if found.video is None:
        raise MediaError(f"{path} has no video.")
    return found


def _refuse_damage(path: Path, lost: Sequence[Span], used: Span) -> None:
    """Raises MediaError where more than MAX_LOST_S of the stretch `used` could not be decoded."""
    inside = [min(end, used[1]) - max(start, used[0]) for start, end in lost]
    lost_s = sum(seconds for seconds in inside if seconds > 0)
    if lost_s > MAX_LOST_S:
        raise MediaError(f"{path} is damaged: {lost_s:.1f} s of it cannot be decoded.")


def _frames(
    found: Media,
    track: FaceTrack,
    first: int,
    stop: int,
    cut: CutFace,
    on_gap: Callable[[Gap], None] | None = None,
) -> Iterator[Image]:
    start_s, end_s = track.start_s + first / FPS, track.start_s + stop / FPS
    shown = frames.frames(found, long_side=DECODE_LONG_SIDE, start_s=start_s, end_s=end_s, on_gap=on_gap)
    for frame in shown:
        number = round((frame.time_s - track.start_s) * FPS)
        if first <= number < stop:
            yield cut(frame.image, track.boxes[number])


def _region(image: Image, box: npt.NDArray[np.float32]) -> Image:
    return crop.crop(image, box, top=FACE_SIZE - MOUTH_HEIGHT, margin=MARGIN)


def main_face(path: Path, tracks: Sequence[FaceTrack]) -> tuple[FaceTrack, int, int]:
    """The face that is seen longest, largest first among equals, and its longest unbroken stretch."""
    best: tuple[float, FaceTrack, int, int] | None = None
    for track in tracks:
        for first, stop in _stretches(track.seen):
            sizes = track.boxes[first:stop, 3] - track.boxes[first:stop, 1]
            weight = (stop - first) * float(sizes.mean())
            if best is None or weight > best[0]:
                best = (weight, track, first, stop)
    if best is None or best[3] - best[2] < MIN_FRAMES:
        raise MediaError(f"{path} shows no face for {MIN_FRAMES / FPS:.1f} s.")
    return best[1:]


def _stretches(seen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """[first, stop) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _aligned(samples: npt.NDArray[np.float32], first: int, frames: int) -> npt.NDArray[np.int16]:
    """int16 samples from number `first` on, for at most `frames` frames; silence where the audio has not
    begun yet, nothing where it has ended."""
    lead = min(max(0, -first), frames * SAMPLES_PER_FRAME)
    part = np.asarray(samples[max(0, first) : max(0, first + frames * SAMPLES_PER_FRAME)])
    wave = np.concatenate([np.zeros(lead, np.float32), part])
    if len(wave) < MIN_FRAMES * SAMPLES_PER_FRAME:
        raise MediaError("Its audio is too short.")
    if np.abs(wave).max() < SILENT:
        raise MediaError("Its audio is silent.")
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def cut_prepared(folder: Path) -> Cut:
    """A clip that Wav2Lip's preparation left: images of the face, numbered from 0, at 25 a second, and
    audio.wav. What lies beyond an image's edge repeats the edge.

    Raises:
        MediaError: an image or the audio cannot be read.
    """
    whole = np.array([0, 0, 1, 1], np.float32)
    images = [_region(face, whole) for face in prepared_faces(folder)]
    if len(images) < MIN_FRAMES:
        raise MediaError(f"{folder} holds only {len(images)} images; at least {MIN_FRAMES} are needed.")
    wave = _aligned(waveform.load_audio(folder / "audio.wav").samples, 0, len(images))
    return Cut(np.stack(images), wave, float(FPS))


def prepared_faces(folder: Path) -> Iterator[Image]:
    """The numbered images of a prepared clip, RGB. Raises MediaError when one cannot be read, or is cut
    short: decoders fill what is missing, which in a face is the mouth, with grey."""
    for path in _numbered(folder):
        content = np.fromfile(path, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
        if image is None:
            raise MediaError(f"{path} is not a readable image.")
        if content[:2].tobytes() == JPEG_BEGIN and JPEG_END not in content[-JPEG_TAIL:].tobytes():
            raise MediaError(f"{path} is cut short.")
        yield np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def _numbered(folder: Path) -> Iterator[Path]:
    """0.jpg, 1.jpg ... up to the first that is missing."""
    return takewhile(Path.is_file, (folder / f"{number}.jpg" for number in count()))


def _list_broken(cache: Path, broken: Sequence[BrokenClip]) -> None:
    """Write the table of unusable clips, or remove it when there are none."""
    path = cache / BROKEN
    if not broken:
        path.unlink(missing_ok=True)
        return
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["split", "id", "source", "reason"])
    rows.writerows([b.split, b.id, b.source, b.reason] for b in broken)
    write_whole(path, table.getvalue().encode())


def face_frames(clip: StoredClip) -> npt.NDArray[np.uint8]:
    """The frames of a prepared clip as (n, 224, 224, 3) RGB.

    Raises:
        MediaError: its file is gone, or has changed since it was prepared.
    """
    path = Path(clip.source)
    if not path.exists():
        raise MediaError(f"{path} is gone, and the prepared cache holds no whole faces of it.")
    if is_prepared(path):
        images = [resize(face, WHOLE_FACE_SIZE, WHOLE_FACE_SIZE) for face in prepared_faces(path)]
    else:
        images = list(main_face_frames(path, crop.padded_face))
    if len(images) != clip.frames:
        raise MediaError(f"{path} has changed since it was prepared; prepare it again.")
    return np.stack(images)
