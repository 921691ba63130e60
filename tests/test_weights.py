"""A checkpoint is found, verified and loaded, or refused in one sentence."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from avsync import weights
from avsync.errors import ModelError, UsageError
from avsync.model import STUDENT, Dims, VocaLiST
from avsync.weights import Preprocessing

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = VocaLiST(TINY).eval()
    info = {"licence": "none", "calibration": {"temperature": 2.0, "weights": [1, 2, 3, 4, 5]}}
    return weights.save(tmp_path / "tiny", model, Preprocessing("bgr", 1.0), info)


@pytest.fixture(autouse=True)
def no_user_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setattr(weights, "cache_folder", lambda: cache)
    monkeypatch.delenv("AVSYNC_MODELS", raising=False)
    return cache


def test_what_was_saved_is_what_loads(saved: Path) -> None:
    loaded = weights.load(saved, "cpu")
    torch.manual_seed(0)
    for key, value in VocaLiST(TINY).state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[key], value)
    assert loaded.model.dims == TINY
    assert not loaded.model.training
    assert loaded.preprocessing == Preprocessing("bgr", 1.0)
    assert loaded.calibration == {"temperature": 2.0, "weights": [1, 2, 3, 4, 5]}
    assert loaded.name == "tiny"


def test_a_name_with_a_dot_stays_whole(tmp_path: Path) -> None:
    path = weights.save(tmp_path / "v1.5", VocaLiST(TINY), Preprocessing())
    assert path == tmp_path / "v1.5.safetensors"
    assert weights.load(path).name == "v1.5"


def test_half_precision_on_disk_loads_as_float32(tmp_path: Path) -> None:
    path = weights.save(tmp_path / "half", VocaLiST(TINY), Preprocessing(), dtype=torch.float16)
    assert weights.load(path, "cpu").model.state_dict()["fc.weight"].dtype == torch.float32
    assert path.stat().st_size < 1.3 * 2 * sum(p.numel() for p in VocaLiST(TINY).parameters()) + 40_000


def test_nothing_else_is_left_in_the_folder(saved: Path) -> None:
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny.safetensors", "tiny.yaml"]


def test_a_name_is_looked_up_in_the_users_folder_first(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSYNC_MODELS", str(saved.parent))
    assert weights.find("tiny") == saved
    assert "tiny" in weights.available()
    assert weights.describe("tiny")["parameters"] == sum(p.numel() for p in VocaLiST(TINY).parameters())


def test_a_damaged_file_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        weights.load(saved)


def test_a_card_of_another_shape_is_refused(saved: Path) -> None:
    card = saved.with_suffix(".yaml")
    content = yaml.safe_load(card.read_text())
    content["dims"]["layers"] = 3
    card.write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="does not hold the weights"):
        weights.load(saved)


@pytest.mark.parametrize("card", ["[1, 2", "just words", "format: 99"])
def test_a_card_that_is_not_ours_is_refused(saved: Path, card: str) -> None:
    saved.with_suffix(".yaml").write_text(card)
    with pytest.raises(ModelError, match=r"tiny\.yaml"):
        weights.load(saved)


def test_a_missing_card_or_file_or_name_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    saved.with_suffix(".yaml").unlink()
    with pytest.raises(ModelError, match="beside it"):
        weights.load(saved)
    with pytest.raises(ModelError, match="no checkpoint at"):
        weights.load(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="models list"):
        weights.load("unheard-of")
    with pytest.raises(ModelError, match="avsync models fetch mtdvocalist"):
        weights.load("mtdvocalist")
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        weights.load("vocalist")


def public_file(path: Path) -> VocaLiST:
    torch.manual_seed(1)
    model = VocaLiST(STUDENT).eval()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, path)
    return model


def test_the_authors_file_loads_unchanged_and_converts(tmp_path: Path, no_user_cache: Path) -> None:
    no_user_cache.mkdir()
    model = public_file(no_user_cache / "pure_MTDVocaLiST.pth")
    loaded = weights.load("mtdvocalist", "cpu")
    assert loaded.preprocessing == Preprocessing("rgb", 1.0)
    frames, mels = torch.rand(1, 15, 48, 96), torch.rand(1, 1, 80, 16)
    converted = weights.load(weights.convert(loaded.path, tmp_path / "mine.safetensors"), "cpu")
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(frames, mels), model(frames, mels))
        torch.testing.assert_close(converted.model(frames, mels), model(frames, mels))
    assert converted.preprocessing == loaded.preprocessing
    assert converted.info["converted_from"] == "pure_MTDVocaLiST.pth"


class Attack:
    def __reduce__(self):
        return (Path.touch, (Path("attacked"),))


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Attack()}))
    torch.save({"state_dict": Attack()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(ModelError, match="plain weights"):
            weights.load(tmp_path / name)
    assert not (tmp_path / "attacked").exists()


def test_other_pth_files_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="neither a VocaLiST nor an MTDVocaLiST"):
        weights.load(tmp_path / "other.pth")
    torch.save(np.float64(3).item(), tmp_path / "number.pth")
    with pytest.raises(ModelError, match="no weights"):
        weights.load(tmp_path / "number.pth")


def test_fetch_proves_the_download_and_leaves_nothing_of_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_user_cache: Path
) -> None:
    served = tmp_path / "served.pth"
    public = weights.PUBLIC["mtdvocalist"]
    monkeypatch.setitem(weights.PUBLIC, "mtdvocalist", replace(public, url=served.as_uri()))
    with pytest.raises(ModelError, match="could not be downloaded"):
        weights.fetch("mtdvocalist")
    served.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="plain weights"):
        weights.fetch("mtdvocalist")
    assert list(no_user_cache.iterdir()) == []
    public_file(served)
    seen: list[float] = []
    path = weights.fetch("mtdvocalist", lambda _stage, done, _total: seen.append(done))
    assert path == no_user_cache / "pure_MTDVocaLiST.pth"
    assert seen[-1] == path.stat().st_size
    served.unlink()
    assert weights.fetch("mtdvocalist") == path


def test_fetch_of_what_only_a_person_can_get_says_where() -> None:
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        weights.fetch("vocalist")
    with pytest.raises(UsageError, match="mtdvocalist"):
        weights.fetch("something-else")


def test_cuda_without_a_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert weights.pick_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="no CUDA GPU"):
        weights.pick_device("cuda")
    with pytest.raises(UsageError, match="no device called"):
        weights.pick_device("abacus")
