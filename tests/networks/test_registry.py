"""Every network: described, saved, loaded again, and scored alike with everything encoded once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from avsync.core.records import Clip, Waveform
from avsync.networks import checkpoint
from avsync.networks.avst import Avst, AvstDims
from avsync.networks.base import Network, Preprocessing, count_parameters
from avsync.networks.registry import AnyDims, build_network, dims_from
from avsync.networks.scoring import audio_windows, score_clip, to_input
from avsync.networks.syncnet import SyncNetDims
from avsync.networks.windows import audio_exists

SMALL: dict[str, AnyDims] = {
    "syncnet": SyncNetDims(),
    "perfect-match": SyncNetDims("perfect-match"),
    "avst": AvstDims(channels=(4, 4, 8, 8, 16), heads=2, layers=1),
}


def small(name: str) -> Network:
    torch.manual_seed(0)
    return build_network(SMALL[name]).eval()


@pytest.mark.parametrize("name", SMALL)
def test_what_the_card_says_makes_the_same_network(name: str, tmp_path: Path) -> None:
    network = small(name)
    again = checkpoint.load(checkpoint.save(tmp_path / name, network, Preprocessing()), "cpu").model
    assert again.dims == network.dims
    assert dims_from(network.dims.to_dict()) == network.dims
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "perfect-match" else ()) for name in SMALL]
)
def test_scores_equal_the_whole_network_on_every_pair(name: str, tmp_path: Path) -> None:
    loaded = checkpoint.load(checkpoint.save(tmp_path / name, small(name), Preprocessing("bgr", 1.0)), "cpu")
    rng = np.random.default_rng(0)
    clip = Clip(0, 0.0, rng.integers(0, 256, (7, 48, 96, 3), np.uint8))
    audio = Waveform(rng.standard_normal(32_000).astype(np.float32) * 0.1, -0.4)
    ours = score_clip(loaded, clip, np.arange(3), audio, 2)
    windows, exists = audio_windows(clip, audio, 2, loaded.model.audio_input), audio_exists(clip, audio, 2)
    assert exists.all()
    pixels = to_input(clip.mouths, loaded.preprocessing, loaded.device)
    for t in range(3):
        frames = pixels[t : t + 5].flatten(0, 1).expand(5, -1, -1, -1)
        heard = torch.from_numpy(np.ascontiguousarray(windows[t : t + 5]))[:, None]
        with torch.inference_mode():
            whole = loaded.model(frames, heard)
        np.testing.assert_allclose(ours[t], whole, rtol=1e-4, atol=1e-4)


def test_mfcc_windows_move_with_the_audio() -> None:
    rng = np.random.default_rng(0)
    clip = Clip(0, 1.0, np.zeros((8, 48, 96, 3), np.uint8))
    samples = rng.standard_normal(48_000).astype(np.float32) * 0.1
    here = audio_windows(clip, Waveform(samples, 0.0), 3, "mfcc")
    later = audio_windows(clip, Waveform(samples, 0.08), 3, "mfcc")
    assert here.shape == (10, 13, 20)
    np.testing.assert_allclose(here[:-2], later[2:], atol=1e-4)
    gone = audio_windows(clip, Waveform(samples, 5.0), 3, "mfcc")
    exists = audio_exists(clip, Waveform(samples, 5.0), 3)
    assert not exists.any()
    assert np.isfinite(gone).all()


def test_avst_is_as_large_as_published() -> None:
    assert count_parameters(Avst()) == pytest.approx(42.4e6, rel=0.01)


def test_avst_depends_on_order_and_modality() -> None:
    network = small("avst")
    visual, audio = torch.randn(1, 5, 16), torch.randn(1, 16, 16)
    with torch.inference_mode():
        straight = network.pair_logits(visual, audio)
        assert straight.shape == (1,)
        assert not torch.allclose(network.audio_tokens(torch.ones(1, 1, 80, 16))[:, 0],
                                  network.audio_tokens(torch.ones(1, 1, 80, 16))[:, 8])  # fmt: skip


@pytest.mark.parametrize("values", [{"family": "nobody"}, {"family": "avst", "channels": [1, 2]}])
def test_what_makes_no_network_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=r"nobody|five widths"):
        dims_from(values)
