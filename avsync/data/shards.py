"""The preparation cache: mouth regions and waveforms of many clips in a few large files.

A cache is a folder of shards. Shard 7 is `00007.frames` (raw uint8 RGB frames of REGION size), `00007.wave`
(raw int16 samples at 16 kHz, first sample on the clip's first frame) and `00007.json` (the clips in them, and
the clips that could not be used, with the reason). The JSON is written last, so a shard without one is
unfinished and is written again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FACE_SIZE, MOUTH_HEIGHT, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.errors import MediaError
from avsync.core.files import read_json, write_whole

FORMAT = 1
MARGIN = 10
"""Pixels kept around the mouth, so that training can shift, scale and rotate the crop."""
REGION = (MOUTH_HEIGHT + 2 * MARGIN, FACE_SIZE + 2 * MARGIN, 3)
"""Stored frame: 68 x 116 RGB; its inner 48 x 96 is exactly the models' input."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS


@dataclass(frozen=True)
class StoredClip:
    """One prepared clip. `fingerprint` is the source file's size and time, `content` the SHA-256 of its
    bytes, so that a changed file is prepared again but a copied one is not; `fps` is the source's frame rate
    (the stored frames are at 25)."""

    id: str
    split: str
    source: str
    fingerprint: str
    frames: int
    samples: int
    fps: float
    content: str = ""

    @property
    def windows(self) -> int:
        """Five-frame windows that have both video and audio."""
        return max(0, min(self.frames, self.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES + 1)


@dataclass(frozen=True)
class BrokenClip:
    """A clip that could not be used, and why."""

    id: str
    split: str
    source: str
    fingerprint: str
    reason: str
    content: str = ""


class ShardWriter:
    """Writes one shard clip by clip; nothing takes effect until `close`."""

    def __init__(self, folder: Path, number: int) -> None:
        self._stem = folder / f"{number:05d}"
        self._frames = self._stem.with_suffix(".frames").open("wb")
        self._wave = self._stem.with_suffix(".wave").open("wb")
        self._clips: list[StoredClip] = []
        self._broken: list[BrokenClip] = []

    def add(
        self, clip: StoredClip, frames: Iterable[npt.NDArray[np.uint8]], wave: npt.NDArray[np.int16]
    ) -> None:
        """Append a clip whose `frames` come as blocks (n, 68, 116, 3)."""
        for block in frames:
            self._frames.write(np.ascontiguousarray(block).data)
        self._wave.write(np.ascontiguousarray(wave).data)
        self._clips.append(clip)

    def add_broken(self, clip: BrokenClip) -> None:
        """Record a clip that could not be used."""
        self._broken.append(clip)

    def close(self) -> None:
        """Flush the data, then publish the shard by renaming its JSON into place."""
        self._frames.close()
        self._wave.close()
        record = {
            "format": FORMAT,
            "clips": [asdict(c) for c in self._clips],
            "broken": [asdict(b) for b in self._broken],
        }
        write_whole(self._stem.with_suffix(".json"), json.dumps(record).encode())


def read_shards(folder: Path) -> list[tuple[Path, list[StoredClip], list[BrokenClip]]]:
    """Every finished shard of a cache: path without suffix, its clips, its broken clips.

    Raises:
        MediaError: a shard is damaged or of another version.
    """
    shards = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            record = read_json(path)
            if record["format"] != FORMAT:
                raise ValueError("another version")
            clips = [StoredClip(**c) for c in record["clips"]]
            broken = [BrokenClip(**b) for b in record["broken"]]
            sizes = {
                "frames": sum(c.frames for c in clips) * int(np.prod(REGION)),
                "wave": sum(c.samples for c in clips) * np.dtype(np.int16).itemsize,
            }
            for suffix, size in sizes.items():
                if path.with_suffix(f".{suffix}").stat().st_size != size:
                    raise ValueError(f"{path.stem}.{suffix} is cut short")
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise MediaError(
                f"The prepared data {path} is damaged ({error}); delete it and run again."
            ) from error
        shards.append((path.with_suffix(""), clips, broken))
    return shards


Entry = tuple[StoredClip, npt.NDArray[np.uint8], npt.NDArray[np.int16]]


class Store:
    """Prepared clips of some splits, memory-mapped. `clips[i]` is read by `frames` and `wave`."""

    def __init__(self, folder: Path, splits: Sequence[str] | None = None, min_windows: int = 1) -> None:
        """Clips of `splits` (None: all) with at least `min_windows` windows, in the order of their ids."""
        # A clip whose file has changed is in two shards; the later one counts, even if the clip is broken
        # now.
        latest: dict[tuple[str, str], Entry] = {}
        for stem, clips, broken in read_shards(folder):
            frames, samples = _map(stem, ".frames", np.uint8, REGION), _map(stem, ".wave", np.int16, ())
            frame = sample = 0
            for clip in clips:
                wanted = splits is None or clip.split in splits
                latest.pop((clip.split, clip.id), None)
                if wanted and clip.windows >= min_windows:
                    arrays = frames[frame : frame + clip.frames], samples[sample : sample + clip.samples]
                    latest[clip.split, clip.id] = (clip, *arrays)
                frame, sample = frame + clip.frames, sample + clip.samples
            for gone in broken:
                latest.pop((gone.split, gone.id), None)
        found = [latest[key] for key in sorted(latest)]
        self.clips: tuple[StoredClip, ...] = tuple(entry[0] for entry in found)
        self._frames = [entry[1] for entry in found]
        self._waves = [entry[2] for entry in found]

    def select(self, keep: Callable[[StoredClip], bool]) -> Store:
        """This store with only the clips that `keep` accepts."""
        chosen = [i for i, clip in enumerate(self.clips) if keep(clip)]
        part = copy.copy(self)
        part.clips = tuple(self.clips[i] for i in chosen)
        part._frames = [self._frames[i] for i in chosen]
        part._waves = [self._waves[i] for i in chosen]
        return part

    def part(self, share: slice) -> Store:
        """The clips of a slice of this store."""
        chosen = {(clip.split, clip.id) for clip in self.clips[share]}
        return self.select(lambda clip: (clip.split, clip.id) in chosen)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def windows(self) -> npt.NDArray[np.int64]:
        """Windows of each clip, (n_clips,)."""
        return np.array([clip.windows for clip in self.clips], np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames and samples."""
        return sum(f.nbytes + w.nbytes for f, w in zip(self._frames, self._waves, strict=True))

    def frames(self, clip: int) -> npt.NDArray[np.uint8]:
        """All regions of a clip, (n, 68, 116, 3) RGB, as a view."""
        return self._frames[clip]

    def mouths(self, clip: int) -> npt.NDArray[np.uint8]:
        """The exact crops of a clip, (n, 48, 96, 3) RGB, as a view."""
        return self._frames[clip][:, MARGIN:-MARGIN, MARGIN:-MARGIN]

    def wave(self, clip: int) -> npt.NDArray[np.int16]:
        """All samples of a clip, (n,), as a view."""
        return self._waves[clip]

    def samples(self, clip: int) -> npt.NDArray[np.float32]:
        """The same as fractions of full scale, -1..1."""
        return self._waves[clip].astype(np.float32) / np.float32(32768)


def _map(stem: Path, suffix: str, dtype: type, shape: tuple[int, ...]) -> npt.NDArray:
    path = stem.with_suffix(suffix)
    if not path.stat().st_size:  # an empty file cannot be memory-mapped
        return np.empty((0, *shape), dtype)
    flat = np.memmap(path, dtype, "r")
    return flat.reshape(-1, *shape)
