"""How good a network is: F1 on fixed pairs, and the paper's accuracy over 31 candidate offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from avsync.core.constants import PROTOCOL_RADIUS, WINDOW_FRAMES, Mask
from avsync.core.records import Clip, Waveform
from avsync.data.labels import delay_of
from avsync.data.loading import Features, Reader, as_frames, pair_bytes, pair_inputs
from avsync.data.pairs import Pairs
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.evaluation.protocol import missing, protocol_hits
from avsync.networks.base import Scorer
from avsync.networks.scoring import blank_logits, score_clip


def f1_score(logits: npt.NDArray, labels: npt.NDArray, threshold: float = 0.0) -> float:
    """F1 of "in sync" at a logit above `threshold`; 0 where nothing is found. Answering "in sync" to
    everything gets 0.667 on balanced pairs."""
    said, true = logits > threshold, labels == 1
    found = int((said & true).sum())
    return 2 * found / max(1, int(said.sum()) + int(true.sum()))


def balanced_f1(logits: npt.NDArray, labels: npt.NDArray) -> float:
    """Mean of the F1 of "in sync" and of "not in sync": 0.333 for a network with one answer to everything."""
    return (f1_score(logits, labels) + f1_score(-logits, 1 - labels)) / 2


def authors_f1(logits: npt.NDArray, labels: npt.NDArray, batch: int) -> float:
    """F1 as the code of MTDVocaLiST's authors computes it: "in sync" is a logit above 0.5, the F1 of both
    classes is weighted by how often they occur, and the mean is over batches."""
    parts = [slice(first, first + batch) for first in range(0, len(labels), batch)]
    return float(np.mean([_weighted_f1(logits[part], labels[part]) for part in parts])) if parts else 0.0


def _weighted_f1(logits: npt.NDArray, labels: npt.NDArray) -> float:
    share = float((labels == 1).mean())
    positive, said_no = f1_score(logits, labels, 0.5), (logits <= 0.5) & (labels == 0)
    negative = 2 * int(said_no.sum()) / max(1, int((logits <= 0.5).sum()) + int((labels == 0).sum()))
    return share * positive + (1 - share) * negative


@torch.no_grad()
def pair_scores(
    scorer: Scorer, source: Reader, pairs: Pairs, batch: int, features: Features
) -> npt.NDArray[np.float32]:
    """Logits (n,) of fixed pairs."""
    scorer.model.eval()
    logits = []
    for first in range(0, len(pairs.clips), batch):
        part = pairs.part(first, first + batch)
        raw = pair_bytes(source, part.clips, part.video, part.audio, features)
        mouths, audio = pair_inputs(raw, features=features)
        frames = as_frames(mouths, scorer.preprocessing)
        logits.append(scorer.model(frames, audio).float().cpu().numpy())
    return np.concatenate(logits) if logits else np.zeros(0, np.float32)


def clip_scores(
    scorer: Scorer,
    store: Store,
    stride: int = 1,
    delays: Mapping[str, float] = MappingProxyType({}),
    mask: Mask = "both",
) -> Iterator[npt.NDArray[np.float32]]:
    """The published protocol's score matrix (windows, 31) of each prepared clip, NaN where a candidate is
    missing by `mask`; clips without a window are left out. A `stride` over 1 skips windows to save time.
    `delays`: as `labels.delay_of` reads them."""
    for number, clip in enumerate(store.clips):
        windows = min(clip.frames, clip.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows < 1:
            continue
        starts = np.arange(0, windows, stride)
        delay_ms = delay_of(clip, delays) or 0.0
        audio = Waveform(store.samples(number), delay_ms / 1000)
        video = Clip(0, 0.0, np.array(store.mouths(number)))
        scores = score_clip(scorer, video, starts, audio, PROTOCOL_RADIUS)
        other = starts[:, None] + np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
        gone = missing(starts, windows, mask)
        padded = ~gone & ((other < 0) | (other >= windows))
        if padded.any():
            scores = np.where(padded, blank_logits(scorer, video.mouths, starts)[:, None], scores)
        yield np.where(gone, np.nan, scores)


def window_accuracy(scores: Sequence[npt.NDArray[np.float32]], frames_k: int = WINDOW_FRAMES) -> float:
    """Share of windows within a frame of the truth: the mean of a clip, then over clips."""
    return float(np.mean([protocol_hits(matrix, frames_k).mean() for matrix in scores])) if scores else 0.0


def whole_clip_accuracy(scores: Sequence[npt.NDArray[np.float32]]) -> float:
    """Share of clips whose best shift, by the mean log-probability over all windows, is within a frame."""
    return float(np.mean([whole_clip_hit(matrix) for matrix in scores])) if scores else 0.0


def whole_clip_hit(matrix: npt.NDArray[np.float32]) -> bool:
    """Whether the best shift of a clip by its score matrix (windows, 31) is within a frame of the truth."""
    logs = matrix - np.logaddexp.reduce(np.where(np.isnan(matrix), -np.inf, matrix), 1, keepdims=True)
    seen = np.isfinite(logs).sum(0)
    mean = np.where(np.isfinite(logs), logs, 0).sum(0) / np.maximum(seen, 1)
    # A shift that few windows can have would win by chance.
    enough = seen >= min(len(matrix), max(5, 0.3 * len(matrix)))
    return abs(int(np.where(enough, mean, -np.inf).argmax()) - PROTOCOL_RADIUS) <= 1
