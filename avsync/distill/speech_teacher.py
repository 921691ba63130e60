"""A speech recogniser as a teacher of the audio front-end.

Lip-sync data have few voices; a recogniser was trained on thousands. Its encoder (Moonshine's, as ONNX) gets
the same audio as the network. A small head turns its features into embeddings that learn to match the
video's, and the audio front-end learns to match that head. Recogniser and head are used only in training;
they are not part of the saved network.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.audio.speech import HOP, SpeechEncoder, at_speech_level, read_at
from avsync.core.constants import HOP_SAMPLES, WINDOW_FRAMES
from avsync.data.loading import HALF_FFT
from avsync.data.shards import SAMPLES_PER_FRAME

IntArray = npt.NDArray[np.int64]

AROUND = 4
"""Features before and after a window's centre; the outermost are 192 ms apart, about the length of a
window."""
HALF_WINDOW = WINDOW_FRAMES * SAMPLES_PER_FRAME / 2
"""Samples from the start of a window to its centre."""


def features(encoder: SpeechEncoder) -> int:
    """Numbers that `window_features` gives for a window."""
    return (2 * AROUND + 1) * encoder.width


def window_features(
    encoder: SpeechEncoder,
    waves: Tensor,
    windows: IntArray,
    tempo: npt.NDArray[np.float64],
    context: int = 0,
) -> Tensor:
    """Waves (n, samples) in -1..1 as `fetch_runs` gives them with `context`, to be played `tempo` (n,) times
    as fast -> features (sum of windows, `features`) around the centres of each run's windows (n,)."""
    encoded_waves = encoder.encode(at_speech_level(waves.cpu().numpy()))
    runs = []
    for encoded, count, pace in zip(encoded_waves, windows.tolist(), tempo.tolist(), strict=True):
        played = context * HOP_SAMPLES + np.arange(count) * SAMPLES_PER_FRAME + HALF_WINDOW
        runs.append(around(encoded, HALF_FFT + played * pace))
    return torch.from_numpy(np.concatenate(runs)).to(waves.device)


def around(encoded: npt.NDArray[np.float32], middles: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Features (steps, width) of a padded wave, interpolated at nine points around the samples `middles` (n,)
    -> (n, 9 * width)."""
    samples = middles[:, None] + np.arange(-AROUND, AROUND + 1) * HOP
    return read_at(encoded, samples.ravel()).reshape(len(middles), -1)


class SpeechHead(nn.Module):
    """Features of a recogniser -> one embedding of length 1 per audio window."""

    HIDDEN = 512

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.BatchNorm1d(features, affine=False),
            nn.Dropout(0.2),
            nn.Linear(features, self.HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(self.HIDDEN, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(windows, features) -> (windows, width)."""
        return F.normalize(self.head(features), dim=-1)

    @torch.no_grad()
    def settled(self, features: Tensor) -> Tensor:
        """The embedding by the weights so far, without dropout."""
        learning = self.training
        self.eval()
        said = self(features)
        self.train(learning)
        return said


def hint_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean of 1 - cosine between our embeddings (n, width) and theirs, which are detached."""
    return (1 - F.cosine_similarity(ours.float(), theirs.detach().float(), dim=-1)).mean()
