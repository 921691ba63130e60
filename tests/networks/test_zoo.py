"""The files of the papers' authors load unchanged; what else is a pickle is refused, and never run."""

import pickle
import resource
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from public_factory import public_file

from avsync.core.errors import ModelError
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing

pytestmark = pytest.mark.usefixtures("user_cache")


def test_the_authors_file_loads_unchanged_and_converts(tmp_path: Path, user_cache: Path) -> None:
    user_cache.mkdir()
    model = public_file(user_cache / "pure_MTDVocaLiST.pth")
    loaded = checkpoint.load("mtdvocalist", "cpu")
    assert loaded.preprocessing == Preprocessing("rgb", 1.0)
    frames, mels = torch.rand(1, 15, 48, 96), torch.rand(1, 1, 80, 16)
    converted = checkpoint.load(checkpoint.convert(loaded.path, tmp_path / "mine.safetensors"), "cpu")
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(frames, mels), model(frames, mels))
        torch.testing.assert_close(converted.model(frames, mels), model(frames, mels))
    assert converted.preprocessing == loaded.preprocessing
    assert converted.info["converted_from"] == "pure_MTDVocaLiST.pth"


class Attack:
    def __reduce__(self):
        return (Path.touch, (Path("attacked"),))


@pytest.mark.filterwarnings("error")  # torch's would be lines on stderr beside the sentence
def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Attack()}))
    torch.save({"state_dict": Attack()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(ModelError, match="plain weights"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "attacked").exists()


def test_other_pth_files_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="neither a VocaLiST nor an MTDVocaLiST"):
        checkpoint.load(tmp_path / "other.pth")
    torch.save(np.float64(3).item(), tmp_path / "number.pth")
    with pytest.raises(ModelError, match="no weights"):
        checkpoint.load(tmp_path / "number.pth")


@pytest.mark.parametrize(
    "state",
    [
        {"fc.weight": torch.tensor(3.0)},
        {"fc.weight": 3.0},
        {"fc.weight": torch.zeros(200).to_sparse()},
        {"fc.weight": torch.zeros(1).expand(512, 10**9)},
        {1: torch.zeros(3)},
        [torch.zeros(3)],
        {"fc.weight": torch.zeros(200, 7)},
        {"netcnnlip.0.weight": torch.tensor(0)},
    ],
)
def test_weights_of_no_network_are_refused(tmp_path: Path, state: object) -> None:
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth"):
        checkpoint.load(tmp_path / "other.pth")


def test_a_file_that_inflates_is_not_opened(tmp_path: Path) -> None:
    """3.5 GB of zeros in 14 MB, as PyTorch would read but never writes; here a fiftieth of that."""
    torch.save({"state_dict": {"fc.weight": torch.zeros(200, 90_000)}}, tmp_path / "plain.pth")
    with (
        ZipFile(tmp_path / "plain.pth") as plain,
        ZipFile(tmp_path / "bomb.pth", "w", ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for member in plain.infolist():
            bomb.writestr(member.filename, plain.read(member))
    (tmp_path / "plain.pth").unlink()
    assert (tmp_path / "bomb.pth").stat().st_size < 1e6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="holds more than its size allows"):
        checkpoint.load(tmp_path / "bomb.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
