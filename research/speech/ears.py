"""Teaches a wider mel front-end what a network with a recogniser's ears hears, on audio alone.

    python research/speech/ears.py targets CACHE TARGETS --teacher speech.safetensors --voices VOICES
    python research/speech/ears.py train TARGETS ears.safetensors --teacher speech.safetensors --minutes 32

`targets` writes the teacher's audio embeddings, one a frame, of the clips to train on and of the recordings
of VOICES (research/voices), as they are and a little faster or slower. `train` takes the teacher without the
part that reads the recogniser's features, widens its mel front-end without changing what it says, and trains
that front-end, its temporal context and the projection of the audio until noisy audio gets the embedding that
the teacher gives the clean audio. The frames' side stays the teacher's. Started again, `train` goes on from
its last state.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from prepare import MEASURED, SPLITS
from torch import Tensor, nn
from torch.nn import functional as F
from train import follow

from avsync.audio.waveform import load_audio
from avsync.core.constants import HOP_SAMPLES, WINDOW_FRAMES, WINDOW_MELS
from avsync.core.records import Clip, Waveform
from avsync.data.augment import Augmentation, augment_mels, augment_waves
from avsync.data.beyond import Spans, replace_beyond
from avsync.data.labels import delay_of, read_delays
from avsync.data.loading import HALF_FFT, columns_samples, first_column, log_mels
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.networks import checkpoint
from avsync.networks.registry import build_network
from avsync.networks.scoring import clip_audio_tokens

CHANNELS = (24, 32, 64, 96, 128)
PIECES, WINDOWS = 24, 60
GRID = 5
"""Frames after which the columns of the windows repeat."""
LEAST_FRAMES = 20
FOOTAGE = 0.5
"""Share of the pieces from the clips to train on; the others are voices without faces."""
AMOUNT = Augmentation(noise_p=0.5, reverb_p=0.3, beyond_p=0.7)
WARMUP, EMA, DECAY = 50, 0.995, 0.05
HINT = 10.0
"""Weight of the directions, beside that of the similarities to all windows of the batch."""
FASTER = 0.15
"""Limit of the logarithm of the speed of the second copy of each voice."""
SAVE_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("targets", "train"))
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="avsync-4-speech")
    parser.add_argument("--delays", default="models/avsync-4-wide.delays.json")
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--init", help="go on from these weights, with another --seed and --rate")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "targets":
        write_targets(given)
    else:
        train(given)


def write_targets(given: argparse.Namespace) -> None:
    """`footage.npz` and `voices.npz` in OUT: `waves` int16, end to end, `frames` (n,) of each, and
    `embeddings` float16 (sum of windows, 256) of length 1."""
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    teacher = checkpoint.load(given.teacher, "cpu")
    known = read_delays(given.delays)
    store = Store(given.source, SPLITS, min_windows=8).select(
        lambda clip: clip.split not in MEASURED or delay_of(clip, known) is not None
    )
    clips = (np.array(store.wave(number)) for number in range(len(store)))
    write(given.out / "footage.npz", teacher, clips)
    rng = np.random.default_rng(given.seed)
    write(given.out / "voices.npz", teacher, voices(given.voices, rng))


def voices(folder: Path, rng: np.random.Generator) -> Any:
    """Each recording as it is, and once more a little slower or faster."""
    for path in sorted(folder.rglob("*.flac")):
        wave = load_audio(path).samples
        speed = float(np.exp(rng.uniform(-FASTER, FASTER)))
        places = np.arange(int(len(wave) / speed)) * speed
        for played in (wave, np.interp(places, np.arange(len(wave)), wave)):
            yield np.round(played * 32767).clip(-32768, 32767).astype(np.int16)


def write(path: Path, teacher: checkpoint.Loaded, waves: Any) -> None:
    """The file of one source, unless it exists."""
    if path.exists():
        return
    kept, embeddings, begun = [], [], time.time()
    for number, wave in enumerate(waves):
        frames = len(wave) // SAMPLES_PER_FRAME
        if frames < LEAST_FRAMES:
            continue
        kept.append(wave[: frames * SAMPLES_PER_FRAME])
        embeddings.append(embedded(teacher, wave, frames))
        if number % 500 == 0:
            print(f"{path.stem} {number}: {time.time() - begun:.0f} s", flush=True)
    lengths = np.array([len(wave) // SAMPLES_PER_FRAME for wave in kept])
    np.savez(path, waves=np.concatenate(kept), frames=lengths, embeddings=np.concatenate(embeddings))


@torch.inference_mode()
def embedded(teacher: checkpoint.Loaded, wave: npt.NDArray[np.int16], frames: int) -> npt.NDArray[np.float16]:
    """(frames - 4, 256): embeddings of length 1 of the windows that begin at each frame."""
    audio = Waveform(wave.astype(np.float32) / 32768, 0.0)
    clip = Clip(0, 0.0, np.broadcast_to(np.zeros(1, np.uint8), (frames, 48, 96, 3)))
    tokens = clip_audio_tokens(teacher, clip, audio, 0, np.arange(frames - WINDOW_FRAMES + 1))
    return F.normalize(teacher.model.audio_embeddings(tokens), dim=-1).half().numpy()


def widened(base: checkpoint.Loaded) -> Any:
    """The network of `base` with wider audio convolutions and a deeper context, which says the same at first:
    nothing of what is new reaches what was there."""
    dims = replace(base.model.dims, audio_channels=CHANNELS, deep_audio=True, speech=False)
    torch.manual_seed(0)
    network = build_network(dims)
    own = network.state_dict()
    for name, value in base.model.state_dict().items():
        here = own.get(name)
        if here is None:  # what reads the recogniser's features
            continue
        if here.shape == value.shape:
            here.copy_(value)
            continue
        if here.ndim == 4:
            here[: value.shape[0], value.shape[1] :] = 0
        here[tuple(slice(0, n) for n in value.shape)] = value
    network.load_state_dict(own)
    return network


class Piece(NamedTuple):
    """`wave` (samples,) of a piece and what is around it, the `embeddings` (windows, 256) of its windows, and
    the samples between which its recording and the piece itself lie."""

    wave: npt.NDArray[np.int16]
    embeddings: npt.NDArray[np.float16]
    clip: tuple[int, int]
    run: tuple[int, int]


class Voices:
    """What `write` wrote of one source; pieces are drawn by their length."""

    def __init__(self, folder: Path, name: str) -> None:
        parts = [np.load(path) for path in sorted(folder.glob(f"{name}*.npz"))]
        self.waves, self.embeddings, frames = (
            np.concatenate([part[key] for part in parts]) for key in ("waves", "embeddings", "frames")
        )
        self.frames = frames.astype(np.int64)
        self.first = np.cumsum(self.frames) - self.frames
        self.first_window = self.first - np.arange(len(self.frames)) * (WINDOW_FRAMES - 1)
        self.share = self.frames / self.frames.sum()

    def piece(self, rng: np.random.Generator, context: int) -> Piece:
        number = int(rng.choice(len(self.frames), p=self.share))
        windows = int(self.frames[number]) - WINDOW_FRAMES + 1
        start = GRID * int(rng.integers(0, max(0, windows - WINDOWS) // GRID + 1))
        count = min(WINDOWS, windows - start)
        last = int(first_column(np.array(WINDOWS - 1)))
        index = columns_samples(np.array([0]), last + WINDOW_MELS + 2 * context)[0]
        index = index + start * SAMPLES_PER_FRAME - context * HOP_SAMPLES
        low, high = self.first[number] * SAMPLES_PER_FRAME, self.frames[number] * SAMPLES_PER_FRAME
        inside = (index >= 0) & (index < high)
        wave = np.where(inside, self.waves[low + index.clip(0, high - 1)], 0)
        at = self.first_window[number] + start
        first = HALF_FFT + context * HOP_SAMPLES
        run = first, first + (count + WINDOW_FRAMES - 1) * SAMPLES_PER_FRAME
        clip = first - start * SAMPLES_PER_FRAME, first - start * SAMPLES_PER_FRAME + high
        return Piece(wave, self.embeddings[at : at + count], clip, run)


def batch_of(sources: list[Voices], rng: np.random.Generator, network: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mels (n, 80, columns) of noisy audio, the teacher's embeddings (windows, 256) of the clean audio, and
    which windows (n, WINDOWS) there are."""
    context = network.audio_context
    pieces = [sources[int(rng.random() >= FOOTAGE)].piece(rng, context) for _ in range(PIECES)]
    waves = torch.from_numpy(np.stack([piece.wave for piece in pieces])).float() / 32768
    spans = Spans(*(np.array([getattr(p, of) for p in pieces], np.float64) for of in ("clip", "run")))
    waves = augment_waves(replace_beyond(waves, spans, rng, AMOUNT), rng, AMOUNT)
    mels = augment_mels(log_mels(waves), rng, AMOUNT)
    here = torch.arange(WINDOWS) < torch.tensor([len(piece.embeddings) for piece in pieces])[:, None]
    return mels, torch.from_numpy(np.concatenate([piece.embeddings for piece in pieces])).float(), here


def directions(network: Any, mels: Tensor, here: Tensor) -> Tensor:
    """(windows, 256) of length 1."""
    tokens = network.column_tokens(mels)
    columns = network.audio_context + first_column(np.arange(WINDOWS))[:, None] + np.arange(WINDOW_MELS)
    windows = tokens[:, torch.from_numpy(columns)][here]
    return F.normalize(network.contrast.audio(windows).float(), dim=-1)


def losses(said: Tensor, target: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """1 - cosine, and the divergence of the similarities to all windows of the batch from the teacher's."""
    theirs = (scale * target @ target.T).softmax(1)
    ours = (scale * said @ target.T).log_softmax(1)
    return (1 - (said * target).sum(1)).mean(), F.kl_div(ours, theirs, reduction="batchmean")


class Progress:
    """What learns, its running average, and how far it is; kept beside the weights to write."""

    def __init__(self, out: Path, network: Any, rate: float) -> None:
        self.network, self.out, self.state = network, out, out.with_suffix(".pt")
        network.requires_grad_(False).eval()
        self.parts = [network.aud_prenet, network.aud_context, network.contrast.audio]
        self.learning = [p for part in self.parts for p in part.requires_grad_(True).parameters()]
        self.average = copy.deepcopy(network)
        self.optimizer = torch.optim.AdamW(self.learning, rate, betas=(0.9, 0.98), weight_decay=DECAY)
        self.step, self.begun = 0, time.time()
        if self.state.exists():
            found = torch.load(self.state, weights_only=True)
            for name in ("network", "average", "optimizer"):
                getattr(self, name).load_state_dict(found[name])
            self.step, self.begun = found["step"], time.time() - found["spent"]

    def save(self, base: checkpoint.Loaded) -> None:
        """The state, and the running average of the weights."""
        kept = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        torch.save({**kept, "step": self.step, "spent": time.time() - self.begun}, self.state)
        checkpoint.save(self.out, self.average, base.preprocessing, {"init": base.name, "steps": self.step})


def train(given: argparse.Namespace) -> None:
    """Writes the running average of the weights."""
    base = checkpoint.load(given.teacher, "cpu")
    network = checkpoint.load(given.init, "cpu").model if given.init else widened(base)
    sources = [Voices(given.source, name) for name in ("footage", "voices")]
    at = Progress(given.out, network, given.rate)
    scale = float(network.contrast.log_scale.exp().clamp(max=network.contrast.MAX_SCALE))
    saved, means = time.time(), np.zeros(2)
    while (passed := (time.time() - at.begun) / (60 * given.minutes)) < 1:
        for group in at.optimizer.param_groups:
            rise = min(1, (at.step + 1) / WARMUP)
            group["lr"] = given.rate * rise * (0.5 + 0.5 * math.cos(math.pi * passed))
        now = learn(at, batch_of(sources, np.random.default_rng([given.seed, 11, at.step]), network), scale)
        means = 0.95 * means + 0.05 * now if means.any() else now
        if at.step % 20 == 0 or at.step < 4:
            print(
                f"step {at.step}, {time.time() - at.begun:.0f} s: {means[0]:.4f} {means[1]:.4f}", flush=True
            )
        if time.time() - saved > SAVE_S:
            saved = time.time()
            at.save(base)
    at.save(base)


def learn(at: Progress, batch: tuple[Tensor, Tensor, Tensor], scale: float) -> npt.NDArray[np.float64]:
    """One step; both losses."""
    mels, target, here = batch
    for part in at.parts:
        part.train()
    with torch.autocast("cpu", torch.bfloat16):
        said = directions(at.network, mels, here)
    hint, relation = losses(said, target, scale)
    at.optimizer.zero_grad()
    (HINT * hint + relation).backward()
    nn.utils.clip_grad_norm_(at.learning, 2.0)
    at.optimizer.step()
    follow(at.average, at.network, EMA, at.step)
    for mean, value in zip(at.average.buffers(), at.network.buffers(), strict=True):
        mean.copy_(value)
    at.step += 1
    return np.array([hint.item(), relation.item()])


if __name__ == "__main__":
    main()
