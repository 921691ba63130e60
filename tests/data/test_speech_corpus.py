"""Recorded speech without video teaches the audio front-end, and only that."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from distill_factory import SHARED, speech

from avsync.core.errors import MediaError, UsageError
from avsync.data import dense_batch
from avsync.data.augment import NONE
from avsync.data.speech_corpus import SpeechCorpus
from avsync.distill.dense import DenseObjective
from avsync.distill.recipe import recipe_from
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "anna").mkdir()
    _, wave = speech(1, 75)
    soundfile.write(tmp_path / "anna" / "one.flac", wave, 16_000)
    stereo = np.stack([wave[:32_000]] * 2, 1)
    soundfile.write(tmp_path / "two.WAV", np.repeat(stereo, 2, 0), 32_000, format="WAV")
    soundfile.write(tmp_path / "short.wav", wave[:8_000], 16_000)
    (tmp_path / "README.txt").write_text("what this is")
    return tmp_path


def test_a_folder_of_recordings_is_read_at_one_rate_and_short_ones_are_left_out(folder):
    corpus = SpeechCorpus(folder, CPU)
    assert corpus.frames.tolist() == [75, 50]
    np.testing.assert_allclose(corpus.share, [0.6, 0.4])


def test_what_is_fetched_is_the_recording_and_silence_beyond_it(folder):
    wave, _ = soundfile.read(folder / "anna" / "one.flac", dtype="float32")
    samples = np.stack([np.arange(100, 900), np.arange(47_700, 48_500) + 400])
    fetched = SpeechCorpus(folder, CPU).fetch(np.array([0, 0]), np.zeros((2, 1), np.int64), samples)
    assert not fetched.frames.numel()
    np.testing.assert_allclose(fetched.waves[0], wave[100:900], atol=1e-4)
    assert not fetched.waves[1, 400:].any()


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"holds no recordings of speech.*flac, mp3, ogg, opus, wav files"):
        SpeechCorpus(tmp_path, CPU)


def test_a_speech_corpus_needs_the_recogniser_that_teaches_it():
    with pytest.raises(UsageError, match="no effect without --speech-encoder; give both"):
        recipe_from({"objective": "dense", "method": "bce", "student": SHARED, "speech_corpus": "voices"})


def test_they_update_the_audio_front_end_and_nothing_else(folder):
    torch.manual_seed(0)
    given = {"objective": "dense", "method": "bce", "student": SHARED | {"contrast": 8}}
    recipe = recipe_from({**given, "dense": {"anchors": 0, "radius": 4, "hint": 2.0}})
    dims = recipe.network.student
    assert isinstance(dims, Dims)
    objective = DenseObjective(
        VocaLiST(dims), recipe.dense, recipe.network.preprocessing, speech_features=6
    ).train()
    corpus = SpeechCorpus(folder, CPU)
    rng = np.random.default_rng(0)
    drawn = dense_batch.draw_runs(rng, corpus.frames, corpus.share, np.zeros(2), 4, 12, NONE)
    heard = dense_batch.audio_batch(dense_batch.fetch_runs(corpus, drawn), drawn, rng, NONE)
    assert not heard.mouths.numel()
    heard = replace(heard, speech=torch.randn(int(heard.windows.sum()), 6))
    losses = objective.echo(heard)
    assert set(losses) == {"echo", "echo_hint"}
    assert objective.speech_head is not None
    assert objective.speech_head.training
    torch.stack(list(losses.values())).sum().backward()
    moved = {".".join(name.split(".")[:2]) for name, p in objective.named_parameters() if p.grad is not None}
    assert moved == {"student.aud_prenet", "student.contrast"}
