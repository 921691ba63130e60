"""What --models names."""

from pathlib import Path

import pytest
import torch

from avsync.bench.models import Named, load, load_for_timing, parse_models
from avsync.core.errors import ModelError, UsageError
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import STUDENT, Dims
from avsync.networks.vocalist import VocaLiST

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


def test_names_and_paths_are_told_apart() -> None:
    assert parse_models("a, b=x/y.pth ,c.safetensors") == [
        Named("a", "a"),
        Named("b", "x/y.pth"),
        Named("c.safetensors", "c.safetensors"),
    ]


@pytest.mark.parametrize("text", ["", " , ", "=x.pth", "a=", "a,a=x.pth"])
def test_nothing_or_a_name_twice_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--models"):
        parse_models(text)


def test_all_are_the_checkpoints_of_this_machine_and_the_untrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path / "mine", VocaLiST(TINY).eval(), Preprocessing())
    monkeypatch.setenv("AVSYNC_MODELS", str(tmp_path))
    names = [model.name for model in parse_models("all")]
    assert names[0] == "mine"
    assert {"student", "teacher"} < set(names)


def test_a_model_goes_by_the_name_it_was_given(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "file", VocaLiST(TINY).eval(), Preprocessing())
    assert load(Named("mine", str(path))).name == "mine"


def test_networks_without_weights_are_only_for_timing() -> None:
    assert load_for_timing(Named("student", "student")).model.dims == STUDENT
    with pytest.raises(ModelError, match="student"):
        load(Named("student", "student"))
    torch.manual_seed(1)
    first, second = (load_for_timing(Named("student", "student")).model for _ in range(2))
    assert torch.equal(next(first.parameters()), next(second.parameters()))
