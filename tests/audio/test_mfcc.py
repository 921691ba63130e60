"""The same numbers as python_speech_features, on pieces."""

import numpy as np
import seeded
import torch
from python_speech_features import mfcc as whole_mfcc
from seeded import REFERENCE

from avsync.audio.mfcc import WINDOW_SAMPLES, mfcc


def wave(n: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(n)).clip(-1, 1).astype(np.float32)


def test_a_whole_waveform_gives_the_library_s_numbers() -> None:
    audio = wave(16_000)
    expected = whole_mfcc(np.trunc(audio * 32767).astype(np.int16), 16_000).T
    ours = mfcc(torch.from_numpy(np.concatenate([[np.float32(0)], audio]))[None])[0].numpy()
    np.testing.assert_allclose(ours, expected[:, : ours.shape[1]], rtol=1e-4, atol=1e-4)


def test_a_piece_gives_the_columns_of_the_whole() -> None:
    audio = wave(16_000)
    whole = mfcc(torch.from_numpy(audio)[None])
    piece = mfcc(torch.from_numpy(audio[160 * 8 : 160 * 8 + WINDOW_SAMPLES])[None])
    torch.testing.assert_close(piece, whole[..., 8:28])


def test_silence_gives_finite_coefficients() -> None:
    assert torch.isfinite(mfcc(torch.zeros(2, WINDOW_SAMPLES))).all()


def test_the_reference() -> None:
    expected = np.load(REFERENCE / "syncnet_seed11.npz")["mfcc"]
    audio = np.concatenate([[np.float32(0)], seeded.waveform()])
    ours = mfcc(torch.from_numpy(audio.astype(np.float32))[None])[0].numpy()
    # The library ends its last column, half of it beyond the audio, in zeros after the emphasis, not before.
    np.testing.assert_allclose(ours[:, :298], expected[:, :298], rtol=1e-4, atol=1e-4)
