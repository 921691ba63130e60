"""Mel-frequency cepstral coefficients as python_speech_features computes them, of many pieces of audio."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
import scipy.fft
import torch
from python_speech_features import base
from torch import Tensor

from avsync.core.constants import SAMPLE_RATE

COEFFICIENTS = 13
FRAME_SAMPLES = 400
STEP_SAMPLES = 160
WINDOW_COLUMNS = 20
"""Columns of 0.2 s."""
COLUMNS_PER_FRAME = 4
"""Columns of one video frame."""
WINDOW_SAMPLES = (WINDOW_COLUMNS - 1) * STEP_SAMPLES + FRAME_SAMPLES + 1
"""Samples that a window is made of, one before its beginning among them."""
FILTERS = 26
FFT = 512
LIFTER = 22
EMPHASIS = 0.97
FULL_SCALE = 32767
"""The features are those of 16-bit samples."""
TINY = float(np.finfo(np.float64).eps)


def mfcc(waves: Tensor) -> Tensor:
    """Samples (n, 1 + 400 + 160 * (columns - 1)) in -1..1 at 16 kHz -> float32 (n, 13, columns).

    Column c covers samples 1 + 160 * c .. + 400; the first sample of all is the one before, which the
    emphasis of high frequencies needs."""
    audio = torch.trunc(waves.float() * FULL_SCALE).double()
    audio = audio[:, 1:] - EMPHASIS * audio[:, :-1]
    frames = audio.unfold(1, FRAME_SAMPLES, STEP_SAMPLES)
    power = torch.fft.rfft(frames, FFT).abs() ** 2 / FFT
    filters, cosines = (torch.from_numpy(table).to(waves.device) for table in _tables())
    levels = (power @ filters.T).clamp_min(TINY).log() @ cosines
    energy = power.sum(-1, keepdim=True).clamp_min(TINY).log()
    return torch.cat([energy, levels[..., 1:]], -1).transpose(1, 2).float()


@lru_cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Filters (26, 257), and what turns log levels into liftered coefficients (26, 13)."""
    filters = base.get_filterbanks(FILTERS, FFT, SAMPLE_RATE, 0, SAMPLE_RATE / 2)
    cosines = cast(np.ndarray, scipy.fft.dct(np.eye(FILTERS), type=2, axis=1, norm="ortho"))
    return filters, base.lifter(cosines[:, :COEFFICIENTS], LIFTER)
