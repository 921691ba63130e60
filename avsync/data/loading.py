"""From drawn windows to the networks' inputs: fetch bytes, then crop, augment and compute mels.

Small sets are kept on the device as bytes (`Resident`), large ones stay memory-mapped and are prefetched by a
thread (`Streamed`); both give the same bytes, and everything after them runs on the device.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from avsync.audio.mel import mel_filters
from avsync.audio.mfcc import WINDOW_SAMPLES, mfcc
from avsync.core.constants import (
    FACE_SIZE,
    FFT_SAMPLES,
    HOP_SAMPLES,
    MEL_RATE,
    MOUTH_HEIGHT,
    WINDOW_FRAMES,
    WINDOW_MELS,
)
from avsync.core.constants import FRAME_RATE as FPS
from avsync.data.augment import NONE, Augmentation, augment_frames, augment_mels, augment_waves
from avsync.data.shards import MARGIN, REGION, SAMPLES_PER_FRAME, Store
from avsync.networks.base import Preprocessing

IntArray = npt.NDArray[np.int64]
Features = Literal["mel", "mfcc", "mel-window"]
"""Input of the audio encoder. "mel-window" is the mel of a window's 3,200 samples alone (authors' code)."""

RESIDENT_SHARE = 0.6
"""Share of the device's free memory that a set may take to be kept there."""
HALF_FFT = FFT_SAMPLES // 2


class Bytes(NamedTuple):
    """Raw input on the device: `frames` uint8 (n, t, 68, 116, 3) or with less margin, `waves` float
    (n, samples) in -1..1."""

    frames: Tensor
    waves: Tensor


class Reader(Protocol):
    """Source of bytes. `clips` (n,); `frames` (n, t) and `samples` (n, m) are indices inside each clip and
    may lie beyond its ends: frames repeat the last one; samples are mirrored as far as a centred STFT reaches
    and zero beyond. Frames come with `margin` pixels around the mouth."""

    def fetch(self, clips: IntArray, frames: IntArray, samples: IntArray, margin: int = MARGIN) -> Bytes: ...


def mirrored(index: npt.NDArray, length: int | npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Sample indices reflected at a clip's ends, as a centred STFT pads, and whether they are within its
    reach; samples further out are silence."""
    last = length - 1
    inside = (index >= -HALF_FFT) & (index <= last + HALF_FFT)
    index = np.abs(index)
    return np.clip(np.where(index > last, 2 * last - index, index), 0, last), inside


def samples_of(wave: npt.NDArray[np.int16], index: IntArray) -> npt.NDArray[np.int16]:
    """Samples (m,) of a wave by index, padded beyond its ends as by every `Reader`."""
    index, inside = mirrored(index, len(wave))
    return np.asarray(wave)[index] * inside


class Streamed:
    """Reads from memory-mapped files on every call."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.store, self.device = store, device

    def fetch(self, clips: IntArray, frames: IntArray, samples: IntArray, margin: int = MARGIN) -> Bytes:
        pin = self.device.type == "cuda"
        rows, columns = (inner(size, margin) for size in REGION[:2])
        shape = (*frames.shape, rows.stop - rows.start, columns.stop - columns.start, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        waves = torch.empty(samples.shape, dtype=torch.int16, pin_memory=pin)
        for row, clip in enumerate(clips):
            source = self.store.frames(clip)
            images.numpy()[row] = source[np.clip(frames[row], 0, len(source) - 1), rows, columns]
            waves.numpy()[row] = samples_of(self.store.wave(clip), samples[row])
        moved = images.to(self.device, non_blocking=True)
        return Bytes(moved, waves.to(self.device, non_blocking=True).float() / 32768)


class Resident:
    """Keeps the whole set on the device and gathers there."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.device = device
        counts = np.array([[clip.frames, clip.samples] for clip in store.clips], np.int64)
        self.counts, self.starts = counts, np.cumsum(counts, 0) - counts
        self.frames = torch.empty((int(counts[:, 0].sum()), *REGION), dtype=torch.uint8, device=device)
        self.waves = torch.empty(int(counts[:, 1].sum()), dtype=torch.int16, device=device)
        for clip, ((n, m), (f, w)) in enumerate(zip(counts.tolist(), self.starts.tolist(), strict=True)):
            self.frames[f : f + n] = torch.from_numpy(np.array(store.frames(clip)))
            self.waves[w : w + m] = torch.from_numpy(np.array(store.wave(clip)))

    def fetch(self, clips: IntArray, frames: IntArray, samples: IntArray, margin: int = MARGIN) -> Bytes:
        rows, columns = (inner(size, margin) for size in REGION[:2])
        n, m = self.counts[clips].T[..., None]
        f, w = self.starts[clips].T[..., None]
        images = torch.from_numpy(f + np.clip(frames, 0, n - 1)).to(self.device)
        index, inside = mirrored(samples, m)
        waves = self.waves[torch.from_numpy(w + index).to(self.device)].float() / 32768
        return Bytes(self.frames[:, rows, columns][images], waves * torch.from_numpy(inside).to(self.device))


def inner(size: int, margin: int) -> slice:
    """The part of a stored side of `size` pixels that covers the mouth and `margin` pixels on either side."""
    return slice(MARGIN - margin, size - MARGIN + margin)


def reader(store: Store, device: torch.device) -> Resident | Streamed:
    """The reader that suits the set and the device."""
    if device.type == "cuda" and store.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return Resident(store, device)
    return Streamed(store, device)


def first_column(window: IntArray) -> IntArray:
    """First mel column of the window that starts at frame `window`: int(80 * t / 25)."""
    return window * MEL_RATE // FPS


def columns_samples(first: IntArray, columns: int) -> IntArray:
    """Sample indices (n, m) that `columns` mel columns from `first` (n,) depend on."""
    count = (columns - 1) * HOP_SAMPLES + FFT_SAMPLES
    return first[:, None] * HOP_SAMPLES - HALF_FFT + np.arange(count)


def log_mels(waves: Tensor) -> Tensor:
    """Uncentred log-mels of waves (n, samples) -> (n, 80, columns); for samples by `columns_samples` they
    equal those columns of the whole clip's mel."""
    window = torch.hann_window(FFT_SAMPLES, device=waves.device)
    spectrum = torch.stft(
        waves, FFT_SAMPLES, HOP_SAMPLES, FFT_SAMPLES, window, center=False, return_complex=True
    ).abs()
    with torch.autocast(waves.device.type, enabled=False):  # as precise in training as in a check
        mel = torch.from_numpy(mel_filters()).to(waves) @ spectrum
    return (8 * (20 * mel.clamp_min(1e-5).log10() - 20 + 100) / 100 - 4).clamp(-4, 4)


def window_samples(features: Features, frames: IntArray) -> IntArray:
    """Sample indices (n, m) that the audio windows at `frames` (n,) depend on."""
    if features == "mel":
        return columns_samples(first_column(frames), WINDOW_MELS)
    if features == "mel-window":
        return frames[:, None] * SAMPLES_PER_FRAME + np.arange(WINDOW_FRAMES * SAMPLES_PER_FRAME)
    return frames[:, None] * SAMPLES_PER_FRAME - 1 + np.arange(WINDOW_SAMPLES)


def audio_inputs(features: Features, waves: Tensor) -> Tensor:
    """Samples of `window_samples` (n, m) -> mels (n, 1, 80, 16) or MFCCs (n, 1, 13, 20)."""
    if features == "mfcc":
        return mfcc(waves)[:, None]
    if features == "mel-window":
        waves = F.pad(waves[:, None], (HALF_FFT, HALF_FFT), mode="reflect")[:, 0]
    return log_mels(waves)[:, None, :, :WINDOW_MELS]


def pair_bytes(
    source: Reader,
    clips: IntArray,
    video: IntArray,
    audio: IntArray,
    features: Features = "mel",
    margin: int = 0,
) -> Bytes:
    """Bytes of video windows at frames `video` (n,) and audio windows at frames `audio`, (n,) or, with
    several for each video window, (n, k), whose samples are concatenated. Augmentation needs the whole margin
    (`margin_for`)."""
    frames = video[:, None] + np.arange(WINDOW_FRAMES)
    samples = window_samples(features, audio.reshape(-1))
    return source.fetch(clips, frames, samples.reshape(len(clips), -1), margin)


def pair_inputs(
    raw: Bytes,
    rng: np.random.Generator | None = None,
    amount: Augmentation = NONE,
    features: Features = "mel",
) -> tuple[Tensor, Tensor]:
    """Bytes of pairs -> mouths float (n, 5, 3, 48, 96) RGB in 0..1 and audio, mels (n, 1, 80, 16) or MFCCs
    (n, 1, 13, 20). Without `rng` they are exactly the model's inputs in a check."""
    if rng is None or amount == NONE:
        return cut(raw.frames), audio_inputs(features, raw.waves)
    mouths = augment_frames(raw.frames, rng, amount)
    audio = audio_inputs(features, augment_waves(raw.waves, rng, amount))
    return mouths, augment_mels(audio[:, 0], rng, amount)[:, None] if features != "mfcc" else audio


def margin_for(amount: Augmentation) -> int:
    """Pixels around the mouth that an augmentation needs; without augmentation, none."""
    return 0 if amount == NONE else MARGIN


def cut(regions: Tensor) -> Tensor:
    """uint8 regions (..., 68, 116, 3), or with less margin, -> their inner mouths (..., 3, 48, 96) as floats
    in 0..1."""
    margin = (regions.shape[-3] - MOUTH_HEIGHT) // 2
    inside = regions[..., margin : margin + MOUTH_HEIGHT, margin : margin + FACE_SIZE, :]
    return inside.movedim(-1, -3).float() / 255


def as_frames(mouths: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Mouths (n, 5, 3, 48, 96) RGB in 0..1 -> a network's input (n, 15, 48, 96), preprocessed."""
    return scaled(mouths, preprocessing).flatten(1, 2)


def scaled(mouths: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Mouths (..., 3, 48, 96) RGB in 0..1 in a network's channel order and scale."""
    if preprocessing.channels == "bgr":
        mouths = mouths.flip(-3)
    return mouths * (255 * preprocessing.scale)
