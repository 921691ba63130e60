"""What the speech recogniser hears lies where the window is, and a file that is none is refused."""

import numpy as np
import pytest
import torch
from distill_factory import made_cache, recogniser, recogniser_kernel

from avsync.audio import speech
from avsync.audio.speech import SpeechEncoder
from avsync.core.errors import ModelError, UsageError
from avsync.data.dense_batch import Runs, fetch_runs
from avsync.data.loading import Streamed
from avsync.data.shards import Store
from avsync.distill import speech_teacher
from avsync.distill.recipe import recipe_from
from avsync.distill.speech_teacher import SpeechHead

onnx = pytest.importorskip("onnx", reason="the package onnx (extra dev) is not installed")

KERNEL = recogniser_kernel()


def test_features_are_those_of_the_windows_place(tmp_path):
    """A click in the middle of one window is heard at the middle feature of that window, and a window later
    in the earlier features of those that follow."""
    encoder = SpeechEncoder(recogniser(tmp_path / "ears.onnx"))
    assert speech_teacher.features(encoder) == 18
    runs = Runs(*(np.array([v]) for v in (0, 30, 0.0, 30, 1.0, 1.0, 0.0, 0.0)))
    store = Store(made_cache(tmp_path / "cache", {"train": [30]}))
    for context in (0, 40):
        raw = fetch_runs(Streamed(store, torch.device("cpu")), runs, context)
        waves = torch.zeros_like(raw.waves)
        first = context * 200 + 400  # the sample at which window 0 begins
        window = 6
        middle = first + window * 640 + 1600
        waves[0, middle - 200 : middle + 200] = 0.05
        heard = speech_teacher.window_features(encoder, waves, np.array([26]), runs.tempo, context).reshape(
            26, 9, 2
        )[..., 0]
        assert heard.shape == (26, 9)
        assert heard[window].argmax() == speech_teacher.AROUND
        assert heard[window - 3].argmax() > speech_teacher.AROUND
        assert heard[window + 3].argmax() < speech_teacher.AROUND


def test_at_a_higher_tempo_features_come_sooner(tmp_path):
    encoder = SpeechEncoder(recogniser(tmp_path / "ears.onnx"))
    waves = torch.zeros(1, 20_000)
    middle = 400 + 2 * (6 * 640 + 1600)  # of window 6, as played at twice the speed
    waves[0, middle - 200 : middle + 200] = 0.05
    heard = speech_teacher.window_features(encoder, waves, np.array([10]), np.array([2.0])).reshape(10, 9, 2)[
        ..., 0
    ]
    assert heard[6].argmax() == speech_teacher.AROUND


def test_quiet_and_loud_speech_sound_alike():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((1, 8000)).astype(np.float32)
    quiet, loud = speech.at_speech_level(0.02 * wave), speech.at_speech_level(0.3 * wave)
    np.testing.assert_allclose(quiet, loud, rtol=1e-5)
    hiss = speech.at_speech_level(1e-5 * wave)
    assert np.abs(hiss).max() < 1e-3, "silence is not amplified into speech"


def test_the_speech_head_gives_unit_vectors():
    torch.manual_seed(0)
    spoken = SpeechHead(12, 8)(torch.randn(5, 12))
    torch.testing.assert_close(spoken.norm(dim=1), torch.ones(5))
    assert float(speech_teacher.hint_loss(3 * spoken, spoken)) == pytest.approx(0, abs=1e-5)
    assert float(speech_teacher.hint_loss(-spoken, spoken)) == pytest.approx(2, abs=1e-5)


def test_what_is_not_a_speech_encoder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        SpeechEncoder(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("words")
    with pytest.raises(ModelError, match="not an ONNX model"):
        SpeechEncoder(tmp_path / "text.onnx")
    other = recogniser(tmp_path / "other.onnx", ("mel", "mask"))
    with pytest.raises(ModelError, match="not Moonshine's encoder: it takes"):
        SpeechEncoder(other)
    with pytest.raises(UsageError, match="--objective dense only"):
        recipe_from({"speech_encoder": "ears.onnx", "method": "bce"})
