"""Compiling a checkpoint: what is written, from what, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avsync.core.errors import SetupError, UsageError
from avsync.core.records import Clip, Waveform
from avsync.data.shards import REGION, SAMPLES_PER_FRAME, ShardWriter, StoredClip
from avsync.evaluation.compile import compile_model
from avsync.networks import checkpoint, compiled, scoring
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

CHANNELS = (8, 8, 16, 16, 32)
COMPARED = Dims("frame2d", CHANNELS, 32, 4, 0, None, 16, "column2d", frame_context=True, wide_context=True)
FRAMES = 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two clips of noise in the split "train"."""
    rng = np.random.default_rng(0)
    (tmp_path / "cache").mkdir()
    shard = ShardWriter(tmp_path / "cache", 0)
    for number in range(2):
        frames = rng.integers(0, 256, (FRAMES, *REGION), np.uint8)
        wave = rng.integers(-3000, 3000, FRAMES * SAMPLES_PER_FRAME, np.int16)
        clip = StoredClip(f"aa/{number}", "train", "x", f"{number}", FRAMES, len(wave), 25.0)
        shard.add(clip, [frames], wave)
    shard.close()
    return tmp_path / "cache"


def saved(folder: Path, dims: Dims, preprocessing: Preprocessing = Preprocessing()) -> Path:
    torch.manual_seed(3)
    model = VocaLiST(dims)
    for part in (model.vid_context, model.aud_context):  # which would begin as the identity
        for parameter in part.mix.parameters() if part is not None else ():
            torch.nn.init.normal_(parameter, std=0.1)
    model(torch.rand(8, 15, 48, 96), torch.randn(8, 1, 80, 16 + 2 * model.audio_context))  # moves the norms
    return checkpoint.save(folder / "small", model.eval(), preprocessing, dtype=torch.float16)


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", [Preprocessing(), Preprocessing("bgr", 1.0)], ids=["rgb", "bgr"])
def test_a_compiled_network_scores_as_it_does_in_pytorch(
    tmp_path: Path, cache: Path, preprocessing: Preprocessing
) -> None:
    path = saved(tmp_path, COMPARED, preprocessing)
    assert compile_model(path, cache, ["train"], count=32) == tmp_path / "small.onnx.zip"
    found = compiled.find(path)
    assert found is not None
    rng = np.random.default_rng(1)
    clip = Clip(0, 0.0, rng.integers(0, 256, (30, 48, 96, 3), np.uint8))
    audio = Waveform(rng.standard_normal(FRAMES * 640).astype(np.float32) * 0.1, 0.0)
    starts = np.arange(26)
    exact = scoring.score_clip(checkpoint.load(path, "cpu"), clip, starts, audio, 5)
    logits = compiled.score_clip(found, clip, starts, audio, 5)
    assert np.sqrt(np.nanmean((logits - exact) ** 2)) < 0.2 * np.nanstd(exact)


@pytest.mark.slow
def test_the_same_seed_writes_the_same_file(tmp_path: Path, cache: Path) -> None:
    path = saved(tmp_path, COMPARED)
    first = compile_model(path, cache, ["train"], count=16, seed=4).read_bytes()
    assert compile_model(path, cache, ["train"], count=16, seed=4).read_bytes() == first


def test_other_networks_are_refused(tmp_path: Path, cache: Path) -> None:
    path = saved(tmp_path, Dims("frame2d", CHANNELS, 32, 4, 1))
    with pytest.raises(UsageError, match=r"small\.safetensors cannot be compiled"):
        compile_model(path, cache, ["train"])
    assert not compiled.beside(path).exists()


def test_a_split_without_clips_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match="no clip in the splits val"):
        compile_model(saved(tmp_path, COMPARED), cache, ["val"])


def test_a_missing_package_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SetupError, match="pip install onnx"):
        compile_model(tmp_path / "none.safetensors", tmp_path / "no cache", ["train"])
