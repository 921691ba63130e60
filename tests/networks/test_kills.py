"""A checkpoint is old, new or absent, whenever its writer is killed."""

import random
from pathlib import Path

import pytest
import torch
from killing import KILLS, killed

from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import STUDENT
from avsync.networks.vocalist import VocaLiST


@pytest.mark.slow
def test_a_conversion_that_is_killed_leaves_a_checkpoint_or_none(tmp_path: Path):
    chance, folder = random.Random(3), tmp_path / "models"
    folder.mkdir()
    torch.manual_seed(0)
    source = checkpoint.save(tmp_path / "source", VocaLiST(STUDENT).eval(), Preprocessing())
    target = folder / "copy.safetensors"
    arguments = ["models", "convert", str(source), str(target), "--force"]
    struck = 0
    for _ in range(KILLS):
        struck += killed(arguments, chance.uniform(1, 8), tmp_path / "tmp")
        assert {path.name for path in folder.iterdir()} <= {"copy.safetensors", "copy.yaml"}
        if target.exists():
            checkpoint.load(target, "cpu")
    assert struck
