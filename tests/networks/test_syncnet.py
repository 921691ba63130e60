"""SyncNet and Perfect Match: the public layout, the reference's numbers, and what a pair costs.

`lip_embedding` of the reference cannot be tested: the 224 x 224 input that it belongs to is not defined.
What is tested of the lip trunk is that the public layout fills it and that it takes 224 x 224.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import seeded
import torch
from numpy.testing import assert_allclose
from seeded import REFERENCE

from avsync.core.errors import ModelError, UsageError
from avsync.core.records import Clip
from avsync.core.report import FaceDistance
from avsync.networks import checkpoint
from avsync.networks.base import count_parameters
from avsync.networks.download import fetch
from avsync.networks.syncnet import FaceEmbeddings, SyncNet, SyncNetDims, face_distance


@pytest.fixture(scope="module")
def filled() -> dict[str, torch.Tensor]:
    """The public layout with the reference's numbers."""
    return seeded.state_dict(seeded.public_shapes("syncnet_state_dict.json"))


@pytest.fixture(scope="module")
def public(filled: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("public") / "syncnet_v2.model"
    torch.save(filled, path)
    return path


def test_the_public_layout_loads_and_is_known(public: Path) -> None:
    loaded = checkpoint.load(public, "cpu")
    assert isinstance(loaded.model, SyncNet)
    assert loaded.model.crop == "face"
    assert (loaded.preprocessing.channels, loaded.preprocessing.scale) == ("bgr", 1.0)
    assert count_parameters(loaded.model) == 13_631_616


def test_a_layout_with_a_piece_missing_is_refused(filled: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({k: v for k, v in filled.items() if k != "netfcaud.3.bias"}, tmp_path / "x.model")
    with pytest.raises(ModelError, match="syncnet network"):
        checkpoint.load(tmp_path / "x.model", "cpu")


def test_audio_embeddings_meet_the_reference(public: Path) -> None:
    fixture = np.load(REFERENCE / "syncnet_seed11.npz")
    # The reference takes every fourth window: 16 columns of MFCCs from one to the next.
    columns = torch.from_numpy(fixture["mfcc"].astype(np.float32)).unfold(1, 20, 16)[:, :15]
    with torch.inference_mode():
        ours = checkpoint.load(public, "cpu").model.audio_tokens(
            columns.transpose(0, 1)[:, None].contiguous()
        )
    expected = fixture["audio_embedding"]
    assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_lips_of_a_whole_face_give_one_embedding(public: Path) -> None:
    with torch.inference_mode():
        ours = checkpoint.load(public, "cpu").model.visual_tokens(torch.rand(1, 15, 224, 224))
    assert ours.shape == (1, 1024)


def test_the_offset_meets_the_reference() -> None:
    expected = json.loads((REFERENCE / "syncnet_offset_seed11.json").read_text())
    streams = np.load(REFERENCE / "syncnet_offset_seed11.npz")
    found = face_distance(streams["video"], streams["audio"])
    assert found.offset == expected["offset"]
    assert found.distance == pytest.approx(expected["min_dist"], rel=1e-4)
    assert found.confidence == pytest.approx(expected["confidence"], rel=1e-4)


def test_early_audio_has_a_positive_offset() -> None:
    stream = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    assert face_distance(stream[:50], stream[6:56]).offset == 6


def test_a_pair_closer_than_half_the_margin_is_in_sync() -> None:
    near = SyncNet(SyncNetDims(margin=2.0)).pair_logits(
        torch.zeros(2, 4), torch.tensor([[0.5] * 4, [3.0] * 4])
    )
    assert near[0] > 0 > near[1]


def test_perfect_match_has_the_same_trunk_and_a_cosine() -> None:
    torch.manual_seed(0)
    network = SyncNet(SyncNetDims("perfect-match")).eval()
    assert count_parameters(network) == 13_631_616 + 1
    one = network.audio_tokens(torch.randn(1, 1, 13, 20))
    assert network.pair_logits(one, one).item() == pytest.approx(10.0, rel=1e-4)


def test_pieces_of_a_track_count_as_one_and_an_interruption_splits_it() -> None:
    rng = np.random.default_rng(0)
    video, audio = rng.standard_normal((2, 60, 8)).astype(np.float32)

    def kept(pieces: list[tuple[int, int]]) -> FaceDistance:
        embeddings = FaceEmbeddings()
        for first, stop in pieces:
            clip = Clip(4, 2.0 + first / 25, np.zeros((stop - first + 4, 1, 1, 3), np.uint8))
            part = torch.from_numpy(video[first:stop]), torch.from_numpy(audio[first:stop])
            embeddings.keep(clip, np.arange(stop - first), *part)
        return embeddings.distances()[4]

    assert kept([(0, 30), (30, 60)]) == kept([(0, 60)]) == face_distance(video[:-1], audio[:-1])
    assert kept([(0, 20), (25, 60)]) == face_distance(video[25:-1], audio[25:-1])


def test_the_public_file_can_only_be_fetched_by_hand() -> None:
    with pytest.raises((ModelError, UsageError), match="by a program"):
        fetch("syncnet")
