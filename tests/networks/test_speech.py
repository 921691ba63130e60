"""A network that also hears through a speech recogniser scores a window the same, however it is asked."""

import numpy as np
import pytest
import torch

from avsync.audio import speech
from avsync.core.errors import ModelError, SetupError
from avsync.core.records import Clip, Waveform
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing, Scorer
from avsync.networks.dims import Dims
from avsync.networks.scoring import score_clip, score_clips
from avsync.networks.vocalist import VocaLiST

DIMS = Dims(
    "frame2d", (4, 4, 8, 8, 16), 16, 4, 0, contrast=8,
    audio_front_end="column2d", frame_context=True, speech=True,
)  # fmt: skip


def untrained() -> VocaLiST:
    torch.manual_seed(3)
    return VocaLiST(DIMS).eval()


@pytest.fixture
def scorer() -> Scorer:
    try:
        speech.installed_encoder()
    except SetupError as error:
        pytest.skip(str(error))
    return Scorer(untrained(), Preprocessing())


def material(frames: int, start_s: float = 0.0) -> tuple[Clip, Waveform]:
    rng = np.random.default_rng(0)
    mouths = rng.integers(0, 256, (frames, 48, 96, 3), np.uint8)
    samples = rng.standard_normal(int((frames / 25 + 2) * 16000)).astype(np.float32) * 0.1
    return Clip(0, start_s, mouths), Waveform(samples, start_s - 1.0)


def test_pieces_of_a_long_track_score_as_the_whole(scorer):
    """Also where the pieces meet on another place than the blocks of the encoder do (8 s)."""
    clip, waveform = material(240)
    whole = score_clips(scorer, [clip], waveform, max_shift=5, stride=6)[0]
    pieces = [Clip(0, 0.0, clip.mouths[:150]), Clip(0, 145 / 25, clip.mouths[145:])]
    joined = score_clips(scorer, pieces, waveform, max_shift=5, stride=6)[0]
    inner = np.abs(joined.times_s - 148 / 25) > 9 / 25  # further from the cut than frames reach
    np.testing.assert_allclose(joined.times_s, whole.times_s)
    np.testing.assert_allclose(joined.logits[inner], whole.logits[inner], atol=1e-3)


def test_later_audio_moves_the_scores(scorer):
    """By five frames, which are sixteen mel columns, so that the mels are cut alike."""
    clip, waveform = material(50, 2.0)
    starts = np.arange(10, 30)
    here = score_clip(scorer, clip, starts, waveform, 8)
    moved = score_clip(scorer, clip, starts, Waveform(waveform.samples, waveform.start_s + 5 / 25), 8)
    np.testing.assert_allclose(moved[:, 5:], here[:, :-5], atol=1e-3)
    assert np.abs(moved - here).max() > 0.1, "the scores do not depend on the audio"


def test_the_recogniser_counts(scorer):
    """The scores change with its share of the embedding alone."""
    clip, waveform = material(30)
    before = score_clip(scorer, clip, np.arange(5, 15), waveform, 3)
    with torch.no_grad():
        scorer.model.contrast.speech[-1].weight.mul_(-1)
    assert np.abs(score_clip(scorer, clip, np.arange(5, 15), waveform, 3) - before).max() > 0.01


def test_pairs_without_the_recogniser_are_refused():
    with pytest.raises(ModelError, match=r"scores whole clips .* not single pairs"):
        untrained()(torch.zeros(1, 39, 48, 96), torch.zeros(1, 1, 80, 42))


def test_a_model_that_needs_the_encoder_says_so_when_it_is_loaded(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path / "ears", untrained(), Preprocessing())
    monkeypatch.setattr(speech, "PACKAGE", "no_such_package_here")
    with pytest.raises(SetupError, match=r"run: pip install 'avsync\[speech\]', or choose another --model"):
        checkpoint.load(path, "cpu")


def test_encoder_layers_and_speech_features_exclude_each_other():
    with pytest.raises(ValueError, match="without encoder layers"):
        Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 2, contrast=8, speech=True)
