"""Pack prepared clips into one small file for a machine that takes no gigabytes: JPEG and FLAC.

python research/gpu/pack.py cache/lrs2-mini out.zip --megabytes 55
python research/gpu/pack.py out.zip cache/unpacked --unpack
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import soundfile

from avsync.core.constants import SAMPLE_RATE
from avsync.data.labels import evenly
from avsync.data.shards import ShardWriter, Store, StoredClip

QUALITY = 90
SHARES = {"train": 0.75, "val": 0.1, "test": 0.15}
"""Of the bytes, for each part."""
PARTS = {
    "train": ("pretrain", "train", "wild"), "val": ("val", "wildval"), "test": ("test", "wildtest"),
}  # fmt: skip
"""Which splits of the two corpora go into each part."""


def pack(store: Store, out: Path, megabytes: float) -> int:
    """Write as many clips as fit, evenly over their ids; how many there are."""
    count = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for part, share in SHARES.items():
            left = share * megabytes * 1e6
            chosen = store.select(lambda clip, part=part: clip.split in PARTS[part])
            for clip, content in _clips(chosen, part):
                left -= len(content)
                if left < 0:
                    break
                archive.writestr(f"{part}/{count}.npz", content)
                archive.writestr(f"{part}/{count}.json", json.dumps(asdict(clip)))
                count += 1
    return count


def _clips(store: Store, part: str) -> Iterator[tuple[StoredClip, bytes]]:
    """The clips in an order of which every beginning is spread over the whole list."""
    ids = [clip.id for clip in store.clips]
    order: dict[str, None] = {}
    for count in (2**power for power in range(len(ids).bit_length() + 1)):
        order |= dict.fromkeys(evenly(ids, min(count, len(ids))))
    number = {clip_id: index for index, clip_id in enumerate(ids)}
    for clip_id in order:
        index = number[clip_id]
        clip = store.clips[index]
        frames = [_jpeg(frame) for frame in store.frames(index)]
        sound = io.BytesIO()
        soundfile.write(sound, store.wave(index), SAMPLE_RATE, format="FLAC")
        content = io.BytesIO()
        lengths = np.array([len(frame) for frame in frames])
        joined = np.frombuffer(b"".join(frames), np.uint8)
        np.savez(content, lengths=lengths, frames=joined, sound=np.frombuffer(sound.getvalue(), np.uint8))
        named = StoredClip(**{**asdict(clip), "id": f"{clip.split}/{clip.id}", "split": part})
        yield named, content.getvalue()


def _jpeg(frame: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def unpack(archive: Path, cache: Path) -> None:
    """The packed clips as a prepared cache."""
    cache.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(cache, 0)
    with zipfile.ZipFile(archive) as packed:
        for name in sorted(n for n in packed.namelist() if n.endswith(".json")):
            clip = StoredClip(**json.loads(packed.read(name)))
            content = np.load(io.BytesIO(packed.read(name.replace(".json", ".npz"))))
            ends = np.cumsum(content["lengths"])
            parts = np.split(content["frames"], ends[:-1])
            frames = np.stack([cv2.imdecode(part, cv2.IMREAD_COLOR)[:, :, ::-1] for part in parts])
            wave, _ = soundfile.read(io.BytesIO(content["sound"].tobytes()), dtype="int16")
            writer.add(clip, [frames], wave)
    writer.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=55)
    parser.add_argument("--unpack", action="store_true")
    given = parser.parse_args(arguments)
    if given.unpack:
        unpack(given.source, given.out)
    else:
        print(pack(Store(given.source, min_windows=8), given.out, given.megabytes), "clips")


if __name__ == "__main__":
    main()
