"""The mel spectrogram of the VocaLiST family, computed on the whole waveform."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from avsync.audio.waveform import Samples, let_go
from avsync.core.constants import (
    FFT_SAMPLES,
    HOP_SAMPLES,
    MEL_BANDS,
    MEL_MAX_HZ,
    MEL_MIN_HZ,
    SAMPLE_RATE,
)
from avsync.core.records import Waveform

SILENT_MEL = -4.0
"""Log-mel value of digital silence."""


BLOCK_COLUMNS = 128
"""Columns that are computed at a time: their spectra stay in the processor's cache, which is three times as
fast as all of a block of audio at once."""

HALF_FFT = FFT_SAMPLES // 2


MEL_KNEE_HZ, HZ_PER_MEL, MEL_OCTAVES = 1000.0, 200 / 3, math.log(6.4) / 27


def log_mel(samples: Samples) -> Samples:
    """Log-mel of a whole waveform (n,): float32 (80, n // 200 + 1) in [-4, 4]; column c is centred on sample
    200 c, with reflection at the ends."""
    return _columns(samples, 0, len(samples) // HOP_SAMPLES + 1)


def mel_span(audio: Waveform, start_s: float, columns: int) -> Samples:
    """Log-mel float32 (80, columns) whose column c is centred on start_s + c / 80 s of the common clock.

    The same values as `log_mel` of the whole waveform, read from the samples around; -4 (silence) where a
    column's centre lies outside the waveform.
    """
    found = _columns(audio.samples, round((start_s - audio.start_s) * SAMPLE_RATE), columns)
    let_go(audio.samples)
    return found


def _columns(samples: Samples, centre: int, columns: int) -> Samples:
    """`columns` mel columns, the first centred on sample number `centre`."""
    mel = np.full((MEL_BANDS, columns), SILENT_MEL, np.float32)
    first = max(0, -(centre // HOP_SAMPLES))
    stop = min(columns, (len(samples) - centre) // HOP_SAMPLES + 1) if len(samples) else 0
    for column in range(first, stop, BLOCK_COLUMNS):
        count = min(BLOCK_COLUMNS, stop - column)
        low = centre + column * HOP_SAMPLES - HALF_FFT
        part = _reflected(samples, low, (count - 1) * HOP_SAMPLES + FFT_SAMPLES)
        windows = np.lib.stride_tricks.sliding_window_view(part, FFT_SAMPLES)[::HOP_SAMPLES]
        magnitude = np.abs(np.fft.rfft(windows * _hann(), axis=1)).astype(np.float32)
        level = 20 * np.log10(np.maximum(1e-5, mel_filters() @ magnitude.T)) - 20
        mel[:, column : column + count] = np.clip(8 * (level + 100) / 100 - 4, -4, 4)
    return mel


def _reflected(samples: Samples, low: int, count: int) -> Samples:
    """`count` samples from number `low`, mirrored at the ends without repeating the end itself."""
    if low >= 0 and low + count <= len(samples):
        return np.asarray(samples[low : low + count])
    period = max(1, 2 * (len(samples) - 1))
    index = np.arange(low, low + count) % period
    return np.asarray(samples[np.minimum(index, period - index) if len(samples) > 1 else index])


@lru_cache
def _hann() -> Samples:
    turns = np.arange(FFT_SAMPLES) / FFT_SAMPLES
    return (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)


@lru_cache
def mel_filters() -> Samples:
    """Triangular mel bands, float32 (80, 401) over the bins of an 800-point spectrum: Slaney's scale, and
    Slaney's normalisation (each band has unit area in Hz)."""
    edges = _mel_edges_hz()
    hz = np.arange(HALF_FFT + 1) * SAMPLE_RATE / FFT_SAMPLES
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle))
    return (np.maximum(0, triangles) * 2 / (right - left)).astype(np.float32)


def mel_centres_hz() -> npt.NDArray[np.float64]:
    """Frequencies (80,) that the mel bands are centred on."""
    return _mel_edges_hz()[1:-1]


def _mel_edges_hz() -> npt.NDArray[np.float64]:
    return _mel_to_hz(np.linspace(_hz_to_mel(MEL_MIN_HZ), _hz_to_mel(MEL_MAX_HZ), MEL_BANDS + 2))


def _hz_to_mel(hz: float) -> float:
    knee = MEL_KNEE_HZ / HZ_PER_MEL
    return hz / HZ_PER_MEL if hz < MEL_KNEE_HZ else knee + math.log(hz / MEL_KNEE_HZ) / MEL_OCTAVES


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    knee = MEL_KNEE_HZ / HZ_PER_MEL
    return np.where(mel < knee, mel * HZ_PER_MEL, MEL_KNEE_HZ * np.exp(MEL_OCTAVES * (mel - knee)))
