"""The average of checkpoints is a checkpoint."""

import dataclasses

import pytest
import torch
from distill_factory import TINY

from avsync.core.errors import UsageError
from avsync.networks import checkpoint
from avsync.networks.average import average, write_average
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST


def saved(folder, name, seed, dims):
    torch.manual_seed(seed)
    return checkpoint.save(folder / name, VocaLiST(dims), Preprocessing())


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    dims = Dims.from_dict(TINY)
    return folder, [saved(folder, name, seed, dims) for seed, name in enumerate(("early", "late"))]


def test_every_weight_is_the_mean_of_both(two):
    folder, paths = two
    write_average(folder / "mean.safetensors", paths)
    mean = checkpoint.load(folder / "mean.safetensors", "cpu")
    early, late = (checkpoint.load(path, "cpu").model.state_dict() for path in paths)
    for name, value in mean.model.state_dict().items():
        a, b = early[name], late[name]
        assert torch.allclose(value, (a + b) / 2 if a.is_floating_point() else a)
    assert mean.info["average_of"] == ["early", "late"]


def test_an_average_needs_two_checkpoints(two):
    with pytest.raises(UsageError, match="at least two"):
        average([checkpoint.load(two[1][0], "cpu")])


def test_other_networks_cannot_be_mixed_in(two):
    folder, paths = two
    other = saved(folder, "other", 0, dataclasses.replace(Dims.from_dict(TINY), heads=4))
    with pytest.raises(UsageError, match="another network"):
        average([checkpoint.load(path, "cpu") for path in (paths[0], other)])
