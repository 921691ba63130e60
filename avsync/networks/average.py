"""Averages the weights of checkpoints of one training, which often judges unknown faces better than each.

python -m avsync.networks.average OUT.safetensors EARLY.safetensors LATE.safetensors
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
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


def main(
    out: Annotated[Path, typer.Argument(help="Where the average goes, a .safetensors file.")],
    models: Annotated[list[str], typer.Argument(help="Names or paths of the checkpoints.")],
) -> None:
    """Average checkpoints of one training into one."""
    loaded = [checkpoint.load(name, "cpu") for name in models]
    network = loaded[0].model
    network.load_state_dict(average(loaded))
    checkpoint.save(out, network, loaded[0].preprocessing, {"average_of": [model.name for model in loaded]})
    typer.echo(f"{out}: the average of {len(loaded)} checkpoints; calibrate it before use.")


if __name__ == "__main__":
    typer.run(main)
