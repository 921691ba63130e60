"""How good a network is: F1 on fixed pairs, and the paper's accuracy over 31 candidate offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from avsync.core.constants import PROTOCOL_RADIUS, WINDOW_FRAMES
from avsync.core.records import Clip, Waveform
from avsync.data.labels import delay_of
from avsync.data.loading import Reader, as_frames, pair_bytes, pair_inputs
from avsync.data.pairs import Pairs
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.distill.distributed import World
from avsync.evaluation.protocol import protocol_hits
from avsync.networks.base import Network, Preprocessing
from avsync.networks.checkpoint import Loaded
from avsync.networks.scoring import score_clip


def f1_score(logits: npt.NDArray, labels: npt.NDArray) -> float:
    """F1 of "in sync" at a logit above 0; 0 where nothing is found."""
    said, true = logits > 0, labels == 1
    found = int((said & true).sum())
    return 2 * found / max(1, int(said.sum()) + int(true.sum()))


@torch.no_grad()
def pair_scores(
    model: Network, preprocessing: Preprocessing, source: Reader, pairs: Pairs, batch: int, at: World
) -> npt.NDArray[np.float32]:
    """Logits of fixed pairs, this process's share of them."""
    model.eval()
    logits = []
    mine = Pairs(*(column[at.rank :: at.size] for column in pairs))
    for first in range(0, len(mine.clips), batch):
        part = mine.part(first, first + batch)
        raw = pair_bytes(source, part.clips, part.video, part.audio, model.audio_input)
        mouths, audio = pair_inputs(raw, audio_input=model.audio_input)
        logits.append(model(as_frames(mouths, preprocessing), audio).float().cpu().numpy())
    return np.concatenate(logits) if logits else np.zeros(0, np.float32)


def clip_scores(
    loaded: Loaded, store: Store, stride: int = 1, delays: Mapping[str, float] = MappingProxyType({})
) -> Iterator[npt.NDArray[np.float32]]:
    """The published protocol's score matrix (windows, 31) of each prepared clip, NaN where a candidate lies
    outside it; clips without a window are left out. A `stride` over 1 skips windows to save time. `delays`:
    as `labels.delay_of` reads them."""
    for number, clip in enumerate(store.clips):
        windows = min(clip.frames, clip.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows < 1:
            continue
        starts = np.arange(0, windows, stride)
        delay_ms = delay_of(clip, delays) or 0.0
        audio = Waveform(store.wave(number).astype(np.float32) / np.float32(32768), delay_ms / 1000)
        video = Clip(0, 0.0, np.array(store.mouths(number)))
        scores = score_clip(loaded, video, starts, audio, PROTOCOL_RADIUS)
        other = starts[:, None] + np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
        yield np.where((other >= 0) & (other < windows), scores, np.nan)


def window_accuracy(scores: list[npt.NDArray[np.float32]], frames_k: int = WINDOW_FRAMES) -> float:
    """Share of windows within a frame of the truth: the mean of a clip, then over clips."""
    return float(np.mean([protocol_hits(matrix, frames_k).mean() for matrix in scores])) if scores else 0.0


def whole_clip_accuracy(scores: list[npt.NDArray[np.float32]]) -> float:
    """Share of clips whose best shift, by the mean log-probability over all windows, is within a frame."""
    right = []
    for matrix in scores:
        logs = matrix - np.logaddexp.reduce(np.where(np.isnan(matrix), -np.inf, matrix), 1, keepdims=True)
        seen = np.isfinite(logs).sum(0)
        mean = np.where(np.isfinite(logs), logs, 0).sum(0) / np.maximum(seen, 1)
        # A shift that few windows can have would win by chance.
        enough = seen >= min(len(matrix), max(5, 0.3 * len(matrix)))
        right.append(abs(int(np.where(enough, mean, -np.inf).argmax()) - PROTOCOL_RADIUS) <= 1)
    return float(np.mean(right)) if right else 0.0
