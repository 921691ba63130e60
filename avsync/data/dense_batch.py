"""The batch of a step of dense supervision: runs of frames from many clips, drawn, fetched and augmented.

All windows of a run share its frames and mel columns, so that each is computed once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avsync.core.constants import FRAME_MS, HOP_SAMPLES, WINDOW_FRAMES, WINDOW_MELS
from avsync.data.augment import (
    NONE,
    Augmentation,
    augment_frames,
    augment_mels,
    augment_waves,
    shifts_ms,
    speeds,
    tempos,
)
from avsync.data.beyond import Spans, replace_beyond
from avsync.data.loading import HALF_FFT, Bytes, Reader, columns_samples, cut, first_column, log_mels
from avsync.data.shards import SAMPLES_PER_FRAME

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Runs of frames, one per clip: `clips` (n,), each of which has `clip_frames` (n,) with audio, first
    frame `start` (n,), frames `lengths` (n,) as played, `speed` (n,) that changes the pitch, `tempo` (n,)
    that preserves it, and the ms by which each one's audio is delayed: first `delay_ms` to bring the clip
    into sync, then a deliberate `shift_ms`, as played."""

    clips: IntArray
    clip_frames: IntArray
    start: npt.NDArray[np.float64]
    lengths: IntArray
    speed: npt.NDArray[np.float64]
    tempo: npt.NDArray[np.float64]
    delay_ms: npt.NDArray[np.float64]
    shift_ms: npt.NDArray[np.float64]

    @property
    def pace(self) -> npt.NDArray[np.float64]:
        """Frames of the clip per frame as played (n,)."""
        return self.speed * self.tempo

    @property
    def late(self) -> npt.NDArray[np.float64]:
        """Frames of the clip by which its audio is delayed (n,)."""
        return (self.delay_ms + self.shift_ms * self.pace) / FRAME_MS

    def columns(self, context: int) -> int:
        """Mel columns, as played, of the longest run's windows with `context` before and after them."""
        last = int(first_column(self.lengths.max() - WINDOW_FRAMES))
        return last + WINDOW_MELS + 2 * context


@dataclass(frozen=True)
class DenseBatch:
    """Inputs on the device: `mouths` float (sum of lengths, 3, 48, 96) RGB in 0..1 (empty: no video), `mels`
    float (n, 80, columns) of the longest run's windows and `context` columns before and after; `windows` (n,)
    of each run; `true` (n,) frames by which its audio is late; `speech` (sum of windows, features) what a
    speech recogniser makes of the unaltered audio, or None."""

    mouths: Tensor
    mels: Tensor
    windows: IntArray
    true: npt.NDArray[np.float64]
    context: int = 0
    speech: Tensor | None = None


def draw_runs(
    rng: np.random.Generator,
    frames: IntArray,
    share: npt.NDArray[np.float64],
    delays: npt.NDArray[np.float64],
    count: int,
    length: int,
    amount: Augmentation,
    shortest: int | None = None,
) -> Runs:
    """`count` runs of up to `length` frames. Clip i has `frames[i]` frames, is drawn with probability
    `share[i]`, and is in sync once its audio is delayed by `delays[i]` ms. `shortest`: the runs have any
    number of frames from there on; None: as many as there are."""
    clips = rng.choice(len(frames), count, p=share).astype(np.int64)
    speed, tempo = speeds(rng, count, amount), tempos(rng, frames[clips], amount)
    pace = speed * tempo
    lengths = np.minimum(length, ((frames[clips] - 1) / pace).astype(np.int64) + 1)
    if shortest is not None:
        lengths = rng.integers(np.minimum(shortest, lengths), lengths + 1)
    start = rng.uniform(0, 1, count) * (frames[clips] - 1 - (lengths - 1) * pace)
    start = np.where(pace == 1, np.round(start), start)
    return Runs(
        clips, frames[clips], start, lengths, speed, tempo, delays[clips], shifts_ms(rng, count, amount)
    )


def fetch_runs(source: Reader, runs: Runs, context: int = 0) -> Bytes:
    """Bytes of all runs at the length of the longest. `waves` begin half an FFT and `context` mel columns, as
    played, before the first frame; their tempo is not yet changed, and they are long enough for the fastest
    run."""
    frames = np.round(runs.start[:, None] + np.arange(runs.lengths.max()) * runs.pace[:, None])
    most = math.ceil((runs.columns(context) - 1) * runs.tempo.max()) + 1
    before = context * HOP_SAMPLES * runs.tempo[:, None]
    relative = (columns_samples(np.array([0]), most) - before) * runs.speed[:, None]
    exact = (runs.start - runs.late)[:, None] * SAMPLES_PER_FRAME + relative
    exact = np.where(runs.speed[:, None] == 1, np.round(exact), exact)
    below = np.floor(exact).astype(np.int64)
    raw = source.fetch(runs.clips, frames.astype(np.int64), np.concatenate([below, below + 1], 1))
    first, second = raw.waves.chunk(2, 1)
    part = torch.from_numpy((exact - below).astype(np.float32)).to(first.device)
    return Bytes(raw.frames, torch.lerp(first, second, part))


def dense_inputs(
    raw: Bytes, runs: Runs, rng: np.random.Generator, amount: Augmentation, context: int = 0
) -> DenseBatch:
    """Bytes, fetched with `context` -> the frames of all runs, end to end, and the mels."""
    frames = cut(raw.frames) if amount == NONE else augment_frames(raw.frames, rng, amount)
    shown = torch.from_numpy(np.arange(frames.shape[1]) < runs.lengths[:, None]).to(frames.device)
    heard = audio_batch(raw, runs, rng, amount, context)
    return replace(heard, mouths=frames[shown], true=runs.shift_ms / FRAME_MS)


def audio_batch(
    raw: Bytes, runs: Runs, rng: np.random.Generator, amount: Augmentation, context: int = 0
) -> DenseBatch:
    """Bytes, fetched with `context` -> a batch of mels without video."""
    waves = raw.waves
    if amount != NONE:
        around = replace_beyond(waves, audio_spans(runs, context), rng, amount)
        waves = augment_waves(around, rng, amount)
    mels = log_mels(waves) if amount == NONE else augment_mels(log_mels(waves), rng, amount)
    windows = runs.lengths - WINDOW_FRAMES + 1
    mels = at_tempo(mels, runs.tempo, runs.columns(context))
    return DenseBatch(torch.empty(0), mels, windows, np.zeros(len(windows)), context)


def audio_spans(runs: Runs, context: int = 0) -> Spans:
    """Where the audio of the runs, and of their clips, begins and ends in the waves of `fetch_runs`."""
    first = HALF_FFT + context * HOP_SAMPLES * runs.tempo
    clip_first = first - (runs.start - runs.late) * SAMPLES_PER_FRAME / runs.speed
    clip_stop = clip_first + runs.clip_frames * SAMPLES_PER_FRAME / runs.speed
    stop = first + runs.lengths * SAMPLES_PER_FRAME * runs.tempo
    return Spans(np.stack([clip_first, clip_stop], 1), np.stack([first, stop], 1))


def at_tempo(mels: Tensor, tempo: npt.NDArray[np.float64], columns: int) -> Tensor:
    """Mels (n, 80, any) -> (n, 80, columns) of the same audio played `tempo` (n,) times as fast at the same
    pitch: column c is interpolated at c * tempo."""
    place = np.arange(columns) * tempo[:, None]
    below = np.minimum(place.astype(np.int64), mels.shape[-1] - 2)
    index = torch.from_numpy(below).to(mels.device)[:, None].expand(-1, mels.shape[1], -1)
    part = torch.from_numpy((place - below).astype(np.float32)).to(mels.device)[:, None]
    return torch.lerp(mels.gather(2, index), mels.gather(2, index + 1), part)
