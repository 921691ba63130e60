"""Recorded speech without video, on which a speech teacher trains the audio front-end.

Recordings of voices are far more common than videos of talking faces, and the audio front-end can learn a
recogniser's features from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from avsync.audio.waveform import load_audio
from avsync.core.constants import SAMPLE_RATE
from avsync.core.errors import MediaError
from avsync.data.loading import Bytes, samples_of
from avsync.data.shards import SAMPLES_PER_FRAME

IntArray = npt.NDArray[np.int64]

SUFFIXES = (".flac", ".mp3", ".ogg", ".opus", ".wav")
LEAST_S = 1.0
"""Shorter recordings are skipped."""


class SpeechCorpus:
    """All recordings below a folder, in memory at 16 kHz (115 MB an hour), with the interface of a `Reader`.

    Attributes: `frames` (n,), the length of each recording in frames of 40 ms; `share` (n,), the probability
    of drawing each, by its length.

    Raises:
        MediaError: the folder holds no recording of a second or more, or one cannot be read.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._waves = list(_recordings(folder))
        self._device = device
        if not self._waves:
            raise MediaError(
                f"{folder} holds no recordings of speech of {LEAST_S:g} s or more; give a folder of "
                f"{', '.join(suffix[1:] for suffix in SUFFIXES)} files."
            )
        self.frames: IntArray = np.array([len(wave) // SAMPLES_PER_FRAME for wave in self._waves])
        self.share: npt.NDArray[np.float64] = self.frames / self.frames.sum()

    def fetch(
        self,
        clips: IntArray,
        frames: IntArray,  # noqa: ARG002 (a Reader, as is the margin)
        samples: IntArray,
        margin: int = 0,  # noqa: ARG002
    ) -> Bytes:
        """Waves as from every reader, and no frames."""
        waves = np.empty(samples.shape, np.int16)
        for row, clip in enumerate(clips):
            waves[row] = samples_of(self._waves[clip], samples[row])
        return Bytes(torch.empty(0), torch.from_numpy(waves).to(self._device).float() / 32768)


def _recordings(folder: Path) -> Iterator[npt.NDArray[np.int16]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            samples = load_audio(path).samples
            if len(samples) >= LEAST_S * SAMPLE_RATE:
                yield np.round(samples * 32767).clip(-32768, 32767).astype(np.int16)
