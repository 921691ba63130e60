"""A speech recogniser as a teacher of the audio front-end.

Lip-sync data have few voices; a recogniser was trained on thousands. Its encoder (Moonshine's, as ONNX) gets
the same audio as the network. A small head turns its features into embeddings that learn to match the
video's, and the audio front-end learns to match that head. Recogniser and head are used only in training;
they are not part of the saved network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.core.constants import HOP_SAMPLES, WINDOW_FRAMES
from avsync.core.errors import ModelError, UsageError
from avsync.data.loading import HALF_FFT
from avsync.data.shards import SAMPLES_PER_FRAME

IntArray = npt.NDArray[np.int64]

HOP = 384
"""Samples from one feature to the next: the strides 64, 3 and 2 of Moonshine's three convolutions."""
FIRST_CENTRE = 447
"""Centre sample of the first feature's receptive field, by the kernels 127, 7 and 3."""
AROUND = 4
"""Features before and after a window's centre; the outermost are 192 ms apart, about the length of a
window."""
HALF_WINDOW = WINDOW_FRAMES * SAMPLES_PER_FRAME / 2
"""Samples from the start of a window to its centre."""
PAD = 4000
"""Samples of silence added around a clip, in which a recogniser expects speech to begin and end."""
LOUDNESS = 0.08
MOST_GAIN = 10.0
"""Clips are scaled to this RMS, which recognisers expect, with a limited gain."""


class SpeechEncoder:
    """The encoder of Moonshine, run by onnxruntime on the CPU: waves in, features every 24 ms out.

    Raises:
        UsageError: the package onnxruntime is missing.
        ModelError: the file is missing or is not such an encoder.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                "--speech-encoder needs the package onnxruntime: pip install 'avsync[speech]'."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise ModelError(f"The speech encoder {path} cannot be read: {error.strerror}.") from error
        except Exception as error:  # onnxruntime's own errors share no base class
            raise ModelError(f"{path} is not an ONNX model: {str(error).splitlines()[0]}") from error
        names = {node.name for node in self._session.get_inputs()}
        if names != {"input_values", "attention_mask"}:
            raise ModelError(f"{path} is not Moonshine's encoder: it takes {', '.join(sorted(names))}.")
        width = self._session.get_outputs()[0].shape[-1]
        self.features = (2 * AROUND + 1) * int(width)

    def window_features(
        self, waves: Tensor, windows: IntArray, tempo: npt.NDArray[np.float64], context: int = 0
    ) -> Tensor:
        """Waves (n, samples) in -1..1 as `fetch_runs` gives them with `context`, to be played `tempo` (n,)
        times as fast -> features (sum of windows, `features`) around the centres of each run's windows
        (n,)."""
        encoded_waves = self.encode(at_speech_level(waves.cpu().numpy()))
        runs = []
        for encoded, count, pace in zip(encoded_waves, windows.tolist(), tempo.tolist(), strict=True):
            played = context * HOP_SAMPLES + np.arange(count) * SAMPLES_PER_FRAME + HALF_WINDOW
            runs.append(around(encoded, HALF_FFT + played * pace))
        return torch.from_numpy(np.concatenate(runs)).to(waves.device)

    def encode(self, waves: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Waves (n, samples), padded with silence -> features (n, steps, width), one every 24 ms."""
        padded = np.pad(waves, ((0, 0), (PAD, PAD)))
        inputs = {"input_values": padded, "attention_mask": np.ones(padded.shape, np.int64)}
        return np.asarray(self._session.run(None, inputs)[0], np.float32)


def at_speech_level(waves: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, samples), each clip scaled to the level of speech."""
    rms = np.sqrt(np.square(waves).mean(1, keepdims=True))
    return (waves * np.minimum(MOST_GAIN, LOUDNESS / np.maximum(rms, 1e-9))).astype(np.float32)


def around(encoded: npt.NDArray[np.float32], middles: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Features (steps, width) of a padded wave, interpolated at nine points around the samples `middles` (n,)
    -> (n, 9 * width)."""
    samples = middles[:, None] + np.arange(-AROUND, AROUND + 1) * HOP
    steps = np.clip((samples + PAD - FIRST_CENTRE) / HOP, 0, len(encoded) - 1)
    below = np.minimum(steps.astype(np.int64), len(encoded) - 2)
    part = (steps - below)[..., None].astype(np.float32)
    read = encoded[below] * (1 - part) + encoded[below + 1] * part
    return read.reshape(len(middles), -1).astype(np.float32)


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
