"""Made training data: mouths that open with the loudness of the sound, prepared in Wav2Lip's way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import soundfile
import torch

from avsync.distill.augment import NONE
from avsync.distill.inputs import Streamed
from avsync.distill.runs import Runs, dense_inputs, fetch_runs
from avsync.distill.store import REGION, SAMPLES_PER_FRAME, ShardWriter, StoredClip

TINY = {"channels": [2, 2, 4, 4, 16], "d_model": 16, "heads": 2, "layers": 4}
"""Dims of a student that trains in seconds."""
TINY_TEACHER = {"channels": [2, 2, 4, 4, 24], "d_model": 24, "heads": 2, "layers": 4}
SHARED = {"front_end": "frame2d", **TINY}
FAST = {"batch": 4, "epochs": 2, "log_steps": 1, "validation_draws": 2, "schedule": "constant", "lr": 1e-3,
        "warmup_epochs": 0}  # fmt: skip


def speech(seed: int, frames: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int16]]:
    """Loudness a frame (frames,) in 0..1, and a sound that has it."""
    rng = np.random.default_rng(seed)
    loud = np.convolve(rng.random(frames + 4), np.ones(5) / 5, "valid")
    loud = (loud - loud.min()) / np.ptp(loud)
    envelope = np.interp(
        np.arange(frames * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME, np.arange(frames) + 0.5, loud
    )
    return loud, (envelope * rng.normal(0, 5000, len(envelope))).astype(np.int16)


def face(opening: float, size: int = 48) -> npt.NDArray[np.uint8]:
    """A picture of a face whose mouth is open by 0..1."""
    image = np.full((size, size, 3), (90, 120, 180), np.uint8)
    axes = (size // 4, max(1, round(opening * size / 6)))
    cv2.ellipse(image, (size // 2, 3 * size // 4), axes, 0, 0, 360, (20, 20, 60), -1)
    return image


def wav2lip_clip(folder: Path, seed: int, frames: int = 30) -> None:
    """One prepared clip: 0.jpg ... and audio.wav."""
    folder.mkdir(parents=True)
    loud, wave = speech(seed, frames)
    for number, opening in enumerate(loud):
        cv2.imwrite(str(folder / f"{number}.jpg"), face(opening))
    soundfile.write(folder / "audio.wav", wave, 16_000)


def wav2lip_set(root: Path, train: int = 6, val: int = 3) -> Path:
    """A training set with lists, as `--data` takes it."""
    ids = {"train": [f"t/{i}" for i in range(train)], "val": [f"v/{i}" for i in range(val)]}
    for split, names in ids.items():
        for number, name in enumerate(names):
            wav2lip_clip(root / name, 100 * len(split) + number)
        (root / f"{split}.txt").write_text("\n".join(names))
    return root


def made_cache(cache: Path, lengths: dict[str, list[int]], seed: int = 0) -> Path:
    """A cache with clips of so many frames by split, pictures of noise."""
    cache.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    writer = ShardWriter(cache, 0)
    for split, frames in lengths.items():
        for number, n in enumerate(frames):
            wave = rng.integers(-9000, 9000, n * SAMPLES_PER_FRAME).astype(np.int16)
            clip = StoredClip(f"{split}{number % 2}/{number}", split, "made", "0", n, len(wave), 25.0)
            writer.add(clip, [rng.integers(0, 256, (n, *REGION), np.uint8)], wave)
    writer.close()
    return cache


def whole_runs(clips, start, lengths, shift_ms=0.0, tempo=1.0) -> Runs:
    """Runs of frames of these clips, nothing drawn."""
    n = len(clips)
    return Runs(
        np.array(clips),
        np.array(start, float),
        np.array(lengths),
        np.ones(n),
        np.full(n, tempo),
        np.zeros(n),
        np.full(n, shift_ms),
    )


def batch_of(store, runs, amount=NONE):
    """Their inputs."""
    rng = np.random.default_rng(0)
    return dense_inputs(fetch_runs(Streamed(store, torch.device("cpu")), runs), runs, rng, amount)
