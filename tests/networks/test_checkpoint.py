"""A checkpoint is found, verified and loaded, or refused in one sentence."""

from pathlib import Path

import pytest
import torch
import yaml

from avsync.core.errors import ModelError, UsageError
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.vocalist import Dims, VocaLiST

pytestmark = pytest.mark.usefixtures("user_cache")

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = VocaLiST(TINY).eval()
    info = {"licence": "none", "calibration": {"temperature": 2.0, "weights": [1, 2, 3, 4, 5]}}
    return checkpoint.save(tmp_path / "tiny", model, Preprocessing("bgr", 1.0), info)


def test_what_was_saved_is_what_loads(saved: Path) -> None:
    loaded = checkpoint.load(saved, "cpu")
    torch.manual_seed(0)
    for key, value in VocaLiST(TINY).state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[key], value)
    assert loaded.model.dims == TINY
    assert not loaded.model.training
    assert loaded.preprocessing == Preprocessing("bgr", 1.0)
    assert loaded.calibration == {"temperature": 2.0, "weights": [1, 2, 3, 4, 5]}
    assert loaded.name == "tiny"


def test_a_name_with_a_dot_stays_whole(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "v1.5", VocaLiST(TINY), Preprocessing())
    assert path == tmp_path / "v1.5.safetensors"
    assert checkpoint.load(path).name == "v1.5"


def test_half_precision_on_disk_loads_as_float32(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "half", VocaLiST(TINY), Preprocessing(), dtype=torch.float16)
    assert checkpoint.load(path, "cpu").model.state_dict()["fc.weight"].dtype == torch.float32
    assert path.stat().st_size < 1.3 * 2 * sum(p.numel() for p in VocaLiST(TINY).parameters()) + 40_000


def test_nothing_else_is_left_in_the_folder(saved: Path) -> None:
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny.safetensors", "tiny.yaml"]


def test_a_name_is_looked_up_in_the_users_folder_first(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSYNC_MODELS", str(saved.parent))
    assert checkpoint.find("tiny") == saved
    assert "tiny" in checkpoint.available()
    assert checkpoint.describe("tiny")["parameters"] == sum(p.numel() for p in VocaLiST(TINY).parameters())


def test_a_damaged_file_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(saved)


def test_a_card_of_another_shape_is_refused(saved: Path) -> None:
    card = saved.with_suffix(".yaml")
    content = yaml.safe_load(card.read_text())
    content["dims"]["layers"] = 3
    card.write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="does not hold the weights"):
        checkpoint.load(saved)


@pytest.mark.parametrize("card", ["[1, 2", "just words", "format: 99"])
def test_a_card_that_is_not_ours_is_refused(saved: Path, card: str) -> None:
    saved.with_suffix(".yaml").write_text(card)
    with pytest.raises(ModelError, match=r"tiny\.yaml"):
        checkpoint.load(saved)


def test_a_missing_card_or_file_or_name_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    saved.with_suffix(".yaml").unlink()
    with pytest.raises(ModelError, match="beside it"):
        checkpoint.load(saved)
    with pytest.raises(ModelError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="models list"):
        checkpoint.load("unheard-of")
    with pytest.raises(ModelError, match="avsync models fetch mtdvocalist"):
        checkpoint.load("mtdvocalist")
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        checkpoint.load("vocalist")


def test_cuda_without_a_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checkpoint.pick_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="no CUDA GPU"):
        checkpoint.pick_device("cuda")
    with pytest.raises(UsageError, match="no device called"):
        checkpoint.pick_device("abacus")
