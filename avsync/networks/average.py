"""The average of the weights of several checkpoints of one run; it often generalises better than each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from avsync.core.errors import UsageError
from avsync.networks import checkpoint
from avsync.networks.checkpoint import Loaded


def average(models: Sequence[Loaded]) -> dict[str, Tensor]:
    """The mean of every tensor of the models; whole numbers, such as a batch norm's count, are the first's.

    Raises:
        UsageError: there are fewer than two, or they differ in dims or in the pixels that they take.
    """
    if len(models) < 2:
        raise UsageError("Give at least two checkpoints to average.")
    first, *others = models
    for other in others:
        if (other.model.dims, other.preprocessing) != (first.model.dims, first.preprocessing):
            raise UsageError(f"{other.path} is another network than {first.path}; they cannot be averaged.")
    states = [model.model.state_dict() for model in models]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }


def write_average(out: Path, models: Sequence[str | Path]) -> Path:
    """The average of checkpoints, by name or path, as a checkpoint at `out`; returns its path.

    Raises what `average` does, and ModelError for a checkpoint that cannot be used."""
    loaded = [checkpoint.load(model, "cpu") for model in models]
    network = loaded[0].model
    network.load_state_dict(average(loaded))
    about = {"average_of": [model.name for model in loaded]}
    return checkpoint.save(out, network, loaded[0].preprocessing, about)
